"""What leaves the house: the wheel, the recipes to run it elsewhere, and how to cite it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / '.github' / 'workflows'


def text(name):
    return (ROOT / name).read_text(encoding='utf-8')


def commands(job, step):
    """The lines that a step of the release runs."""
    steps = yaml.safe_load(text('.github/workflows/release.yml'))['jobs'][job]['steps']
    (run,) = (s['run'] for s in steps if s.get('name') == step)
    return run.splitlines()


@pytest.fixture(scope='module')
def dist(tmp_path_factory):
    """The folder with wheel and source distribution, built by the release's own commands."""
    pytest.importorskip('build')
    pytest.importorskip('twine')
    source = tmp_path_factory.mktemp('source') / 'course'
    kept = shutil.ignore_patterns('.git', '.venv*', '_build', 'build', '*.egg-info', '.*_cache')
    shutil.copytree(ROOT, source, ignore=kept)
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    for command in commands('build', 'Build the wheel and the source distribution')[1:]:
        done = subprocess.run(
            command, shell=True, cwd=source, capture_output=True, text=True, timeout=300,
            env=os.environ | {'PATH': path},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    return source / 'dist'


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(dist):
    (path,) = dist.glob('*.whl')
    with zipfile.ZipFile(path) as wheel:
        held = {name for name in wheel.namelist() if '.dist-info/' not in name}
    package = ROOT / 'd2l_gan'
    files = {p for p in package.rglob('*') if p.is_file() and '__pycache__' not in p.parts}
    assert held == {p.relative_to(ROOT).as_posix() for p in files}
    with tarfile.open(next(dist.glob('*.tar.gz'))) as source:
        names = source.getnames()
    assert any(name.endswith('/d2l_gan/results/ladder.csv') for name in names)


@pytest.mark.slow
def test_what_the_release_tries_on_the_wheel_goes_well(dist, tmp_path):
    (path,) = dist.glob('*.whl')
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run([*pip, '--target', tmp_path / 'site', path], check=True)
    env = os.environ | {'PYTHONPATH': str(tmp_path / 'site'), 'D2L_GAN_DATA': str(tmp_path)}
    tried = commands('build', 'Try the wheel in an empty environment')
    lines = [shlex.split(line)[1:] for line in tried if line.startswith('bin/python')]
    assert len(lines) == 3
    said = [
        subprocess.run(
            [sys.executable, *line],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in [*lines, ['-c', 'import d2l_gan; print(d2l_gan.__file__)']]
    ]
    assert '--resume' in said[1]
    assert len(list(Path(said[2].strip()).rglob('*.png'))) == 32
    assert said[3].startswith(str(tmp_path / 'site'))


def test_the_package_is_published_without_a_password_and_the_book_on_pages():
    jobs = yaml.safe_load(text('.github/workflows/release.yml'))['jobs']
    assert jobs['package']['permissions'] == {'id-token': 'write'}
    assert jobs['package']['needs'] == jobs['book']['needs'] == 'build'
    assert 'password:' not in text('.github/workflows/release.yml')
    build = next(step for step in jobs['book']['steps'] if step.get('name') == 'Build the book')
    assert build['run'].startswith('make book')
    assert 'github.repository' in build['env']['REPOSITORY']
    pages = next(step for step in jobs['book']['steps'] if 'pages-artifact' in step.get('uses', ''))
    assert pages['with']['path'] == '_build/book'


@pytest.mark.skipif(os.name == 'nt', reason='the release runs on Linux')
def test_a_tag_that_is_no_version_is_not_released():
    (line,) = commands('build', 'Is this tag the version of pyproject.toml?')
    version = tomllib.loads(text('pyproject.toml'))['project']['version']
    for tag, rc in ((f'v{version}', 0), ('v9.9', 1), (f'v{version.replace(".", "x")}', 1)):
        env = os.environ | {'GITHUB_REF_NAME': tag}
        assert subprocess.run(line, shell=True, cwd=ROOT, env=env).returncode == rc, tag


@pytest.mark.parametrize(
    ('schema', 'path'),
    [
        *(('vendor.github-workflows', path) for path in sorted(WORKFLOWS.glob('*.yml'))),
        ('vendor.citation-file-format', ROOT / 'CITATION.cff'),
    ],
    ids=lambda value: getattr(value, 'name', ''),
)
def test_files_for_others_fit_their_schema(schema, path, tmp_path):
    pytest.importorskip('check_jsonschema')
    check = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', schema]
    done = subprocess.run([*check, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (tmp_path / path.name).write_text(path.read_text(encoding='utf-8') + '\nnonsense: 1\n')
    assert subprocess.run([*check, tmp_path / path.name], capture_output=True).returncode == 1


def test_the_container_starts_the_page_as_an_ordinary_user():
    parser = pytest.importorskip('dockerfile_parse').DockerfileParser(str(ROOT / 'Dockerfile'))
    steps = [(step['instruction'], step['value']) for step in parser.structure]
    known = {'FROM', 'RUN', 'USER', 'WORKDIR', 'ENV', 'COPY', 'EXPOSE', 'CMD', 'COMMENT'}
    assert {name for name, _ in steps} <= known
    copied = [path for name, value in steps if name == 'COPY' for path in value.split()[1:-1]]
    assert all((ROOT / path).exists() for path in copied)
    assert {'d2l_gan', 'notebooks', 'pyproject.toml'} <= set(copied)
    assert [value for name, value in steps if name == 'USER'] == ['student']
    lab = re.search(r'jupyter lab (.*)', text('Makefile'))[1].split()[0]
    assert lab in steps[-1][1]


def test_binder_installs_the_course_without_the_tools_of_developers():
    lines = [line for line in text('.binder/requirements.txt').splitlines() if line[0] != '#']
    assert lines == ['--extra-index-url https://download.pytorch.org/whl/cpu', '.[lab]']
    python = text('.binder/runtime.txt').strip().removeprefix('python-')
    assert tuple(map(int, python.split('.'))) >= (3, 11)
