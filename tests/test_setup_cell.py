"""The notebooks' first code cell, in a real kernel whose Python has everything but the package."""

import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from cells import sources
from jupyter_client.manager import start_new_kernel

STEMS = sorted(path.stem for path in (Path(__file__).parents[1] / 'notebooks').glob('*.ipynb'))
NOTE = 'Note: you may need to restart the kernel to use updated packages.'  # %pip's own


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run code in a kernel that lacks d2l_gan and sees no registry; returns what it printed."""
    home = tmp_path / 'python'
    site = home / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}' / 'site-packages'
    site.mkdir(parents=True)
    (home / 'bin').mkdir()
    try:
        (home / 'bin/python').symlink_to(sys.executable)
        for folder in {entry for entry in sys.path if entry.endswith('site-packages')}:
            for path in Path(folder).iterdir():
                if 'd2l_gan' not in path.name and not (site / path.name).exists():
                    (site / path.name).symlink_to(path)
    except OSError:
        pytest.skip('no symbolic links here')
    base = Path(os.path.realpath(sys.executable)).parent
    (home / 'pyvenv.cfg').write_text(f'home = {base}\ninclude-system-site-packages = false\n')
    spec = {
        'argv': [str(home / 'bin/python'), '-m', 'ipykernel_launcher', '-f', '{connection_file}'],
        'display_name': 'alone',
        'language': 'python',
    }
    (tmp_path / 'kernels/alone').mkdir(parents=True)
    (tmp_path / 'kernels/alone/kernel.json').write_text(json.dumps(spec))
    (tmp_path / 'stick').mkdir()
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    alone = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PIP_FIND_LINKS')}
    alone |= {'PIP_NO_INDEX': '1', 'PIP_CONFIG_FILE': os.devnull}
    manager, client = start_new_kernel(
        kernel_name='alone', cwd=str(tmp_path / 'stick'), env=alone, startup_timeout=120
    )

    def execute(code):
        printed = []

        def listen(message):
            content = message['content']
            printed.append(content.get('text') or content.get('ename') or '')

        client.execute_interactive(code, output_hook=listen, timeout=120)
        return re.sub(r'\x1b\[[\d;]*m', '', ''.join(printed)).strip()  # an old IPython's colours

    yield execute
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def write_wheel(folder):
    """The least that pip takes for a wheel of d2l-gan."""
    about = 'd2l_gan-9.9.dist-info'
    with zipfile.ZipFile(folder / 'd2l_gan-9.9-py3-none-any.whl', 'w') as wheel:
        wheel.writestr('d2l_gan/__init__.py', 'here = True\n')
        wheel.writestr(f'{about}/METADATA', 'Metadata-Version: 2.1\nName: d2l-gan\nVersion: 9.9\n')
        wheel.writestr(
            f'{about}/WHEEL',
            'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        )
        wheel.writestr(f'{about}/RECORD', '')


def test_it_is_the_same_in_all_notebooks_and_three_lines_long():
    without = [stem for stem in STEMS if 'setup' not in sources(stem)]
    assert without == [], 'copy the cell setup from another notebook'
    (cell,) = {sources(stem)['setup'] for stem in STEMS}
    assert len([line for line in cell.splitlines() if line.strip()]) <= 3


@pytest.mark.parametrize('stem', STEMS)
def test_it_comes_before_all_other_code_and_prints_nothing(stem):
    cells = sources(stem)
    first = next(key for key in cells if not key.endswith(('title', 'text')))
    assert first == 'setup', 'before it only cells whose ids end in title or text'


@pytest.mark.slow
def test_it_says_what_to_do_and_then_installs_what_lies_beside_the_notebook(run, tmp_path):
    cell = sources(STEMS[0])['setup']
    assert run('import torch') == ''
    assert run('import d2l_gan') == 'ModuleNotFoundError'
    *errors, sentence, note = run(cell).splitlines()
    assert sentence == 'Go online, or put the wheel of d2l_gan in this folder'
    assert note == NOTE
    assert all('ERROR: ' in line for line in errors)  # pip's own reason
    write_wheel(tmp_path / 'stick')
    assert run(cell) == NOTE
    assert run('import d2l_gan; print(d2l_gan.here)') == 'True'
    assert run(cell) == ''
