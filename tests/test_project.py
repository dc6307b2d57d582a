"""The files beside the code: what is installed, what is run, and that they agree."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from oldest import pins

from d2l_gan.classroom import EXERCISES
from d2l_gan.diagnosis import ADVICE

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
EXTRAS = PROJECT['optional-dependencies']


def text(name):
    return (ROOT / name).read_text(encoding='utf-8')


def plan(*arguments):
    """The commands that make would run."""
    if not shutil.which('make'):
        pytest.skip('no make here')
    done = subprocess.run(
        ['make', '-n', *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def name(requirement):
    return re.match(r'[\w.-]+', requirement)[0]


def test_environment_yml_installs_the_project_and_nothing_else():
    environment = yaml.safe_load(text('environment.yml'))
    python, pip, from_pip = environment['dependencies']
    assert python.replace(' ', '') == f'python{PROJECT["requires-python"]}'
    assert pip == 'pip'
    assert from_pip == {'pip': ['-e .[dev]']}


def test_versions_are_ranges():
    listed = PROJECT['dependencies'] + sum(EXTRAS.values(), [])
    itself = {'d2l-gan[export]': 'test', 'd2l-gan[book,lab,slides,test]': 'dev'}
    others = [requirement for requirement in listed if requirement not in itself]
    assert len(others) == len(listed) - 2
    assert all(requirement in EXTRAS[extra] for requirement, extra in itself.items())
    assert all(re.fullmatch(r'[\w.-]+>=[\d.]+', requirement) for requirement in others)


def test_jupyterlab_comes_with_the_extra_alone():
    assert 'jupyterlab' not in map(name, PROJECT['dependencies'] + EXTRAS['test'])
    assert 'jupyterlab' in map(name, EXTRAS['lab'])


def test_the_oldest_versions_are_the_floors():
    project = {
        'dependencies': ['torch>=2.6', 'scikit-image>=0.19.3'],
        'optional-dependencies': {
            'test': ['me[more]', 'pytest>=8.2'], 'lab': ['jupyterlab>=4.3'], 'more': ['onnx>=1.16'],
        },
    }  # fmt: skip
    assert pins(project) == ['torch==2.6', 'scikit-image==0.19.3', 'pytest==8.2', 'onnx==1.16']
    listed = pins(PROJECT)
    assert len(set(map(name, listed))) == len(listed) >= 12
    assert all(re.fullmatch(r'[\w.-]+==[\d.]+', pin) for pin in listed)
    commands = plan('oldest', 'OLDEST=no/such/folder')
    assert re.search(r'python3\.11 -m venv no/such/folder', commands)
    assert '--constraint no/such/folder/pins.txt' in commands
    assert '--ignore=tests/test_browser.py' in commands


def test_setup_takes_pytorch_without_gpu_libraries_where_it_is_told_to():
    index = 'torch torchvision --index-url https://download.pytorch.org/whl/cpu'
    with_gpu = plan('setup', 'VENV=no/such/folder')
    without = plan('setup', 'VENV=no/such/folder', 'CPU=1')
    assert 'download.pytorch.org' not in with_gpu
    assert without.index(index) < without.index("--editable '.[dev]'")  # which then finds it there
    assert "--editable '.[dev]'" in with_gpu


def test_quick_leaves_out_notebooks_and_what_is_marked_slow():
    assert re.search(r"pytest tests -m 'not slow'", plan('quick'))


def test_waiting_threads_are_told_not_to_spin_by_make_and_by_pytest_alike():
    (exported,) = re.findall(r'^export GOMP_SPINCOUNT \?= (\d+)$', text('Makefile'), re.M)
    (default,) = re.findall(r"setdefault\('GOMP_SPINCOUNT', '(\d+)'\)", text('conftest.py'))
    assert exported == default
    code = 'import os; print(os.environ["GOMP_SPINCOUNT"])'
    child = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert child.stdout.strip() == os.environ['GOMP_SPINCOUNT']


def test_every_command_of_make_is_told_to_newcomers():
    commands = re.findall(r'^([a-z]+): .*##', text('Makefile'), re.M)
    told = ''.join(map(text, ('README.md', 'docs/running.md', 'CONTRIBUTING.md')))
    assert len(commands) >= 9
    assert [c for c in commands if c != 'help' and f'make {c}' not in told] == []


def test_the_books_opening_page_tells_what_the_readme_tells():
    def rows(page):
        return [line.replace('](../', '](') for line in page.splitlines() if line.startswith('| ')]

    table = rows(text('docs/index.md'))
    assert len(table) == 1 + len(list((ROOT / 'notebooks').glob('*.ipynb')))
    assert set(table) <= set(rows(text('README.md')))


def test_the_citation_names_this_version():
    assert yaml.safe_load(text('CITATION.cff'))['version'] == PROJECT['version']


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r'^## \[([\d.]+)\]', text('CHANGELOG.md'), re.M)
    assert versions[0] == PROJECT['version']
    assert versions[-1] == '0.1.0'


def test_the_recipes_name_files_that_exist():
    for document in ('CONTRIBUTING.md', 'README.md', 'docs/running.md', 'tools/README.md'):
        paths = re.findall(r'`((?:d2l_gan|tests|tools)/[\w/]+\.(?:py|md))`', text(document))
        paths += re.findall(r'\]\((?!https?:)([^)#]+)\)', text(document))
        folder = (ROOT / document).parent
        missing = [p for p in paths if not (ROOT / p).exists() and not (folder / p).exists()]
        assert missing == [], document


def test_a_commit_is_checked_as_make_lint_checks():
    (repository,) = yaml.safe_load(text('.pre-commit-config.yaml'))['repos']
    assert [hook['entry'] for hook in repository['hooks']] == ['make lint']
    commands = plan('lint')
    assert all(c in commands for c in ('ruff check', 'ruff format --check', 'mypy'))


@pytest.mark.slow
def test_importing_the_package_is_quick_and_loads_no_torchvision_or_widgets():
    code = (
        'import time, sys; start = time.perf_counter(); import torch, matplotlib.pyplot;'
        'middle = time.perf_counter(); import d2l_gan; end = time.perf_counter();'
        'heavy = {"torchvision", "ipywidgets", "IPython", "requests", "scipy"} & set(sys.modules);'
        'print(end - middle, *heavy)'
    )
    tries = [
        subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        for _ in range(3)
    ]
    assert all(len(done.stdout.split()) == 1 for done in tries), tries[0].stdout + tries[0].stderr
    assert min(float(done.stdout) for done in tries) < 0.3


def test_workflow_runs_the_same_commands():
    workflow = yaml.safe_load(text('.github/workflows/test.yml'))
    job = workflow['jobs']['test']
    matrix = job['strategy']['matrix']
    assert {'ubuntu-latest', 'macos-latest', 'windows-latest'} <= set(matrix['os'])
    oldest = PROJECT['requires-python'].removeprefix('>=')
    assert oldest in matrix['python']
    assert len(matrix['python']) >= 2
    assert 'schedule' in workflow[True]
    steps = '\n'.join(step.get('run', '') for step in job['steps'])
    assert 'make lint' in steps
    assert 'make test' in steps
    assert 'pytest' in steps
    *_, python, run = workflow['jobs']['oldest']['steps']
    assert python['with']['python-version'] == oldest
    assert run['run'] == 'make oldest'


def test_the_teachers_page_names_cells_verdicts_and_headings_that_exist():
    page = text('TEACHING.md')
    sources = [text(f'notebooks/{name}.ipynb') for name in ('01_basic_gan', '02_dcgan')]
    cells = {cell['id']: cell for source in sources for cell in json.loads(source)['cells']}
    plans = page[page.index('## Ninety minutes') : page.index('## What students ask')]
    rows = [line.split(' | ') for line in plans.splitlines() if re.match(r'\| \d', line)]
    assert len(rows) > 15
    named = re.findall(r'`([\w-]+)`', ' '.join(row[3] for row in rows))
    assert len(named) > 12
    assert set(named) <= set(cells)
    decks = ''.join(text(f'notebooks/slides/{name}.md') for name in ('01_basic_gan', '02_dcgan'))
    titles = re.findall(r'\*([^*]+)\*', ' '.join(row[2] for row in rows))
    assert len(titles) > 20
    assert set(titles) <= set(re.findall(r'(?m)^## (.+)$', decks))
    ends = [int(end) for row in rows for end in re.findall(r'to (\d+)', row[0])]
    assert ends[-1] == 180
    assert 90 in ends
    exercises = re.findall(r'`([\w-]+)`', ' '.join(re.findall(r'(?m)^Homework: .*$', plans)))
    asked = re.findall(r'exercise `([\w-]+)`', plans)
    assert {*exercises, *asked} <= set(EXERCISES)
    turns = page[page.index('## Wrong turns') : page.index('## Homework')]
    said = set(re.findall(r'\| \*([^*]+)\* \|', turns))
    assert said == set(ADVICE) - {'too early to say'}
