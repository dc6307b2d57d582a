"""The check before class: what is there, what is missing, and how to mend it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ready
from test_setup_cell import write_wheel

ROOT = Path(__file__).parents[1]


def run(tmp_path, *options, **environment):
    env = os.environ | {'D2L_GAN_DATA': str(tmp_path / 'data'), 'OMP_NUM_THREADS': '1'}
    small = '--images', '64', '--memory', '0.1'
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'ready.py', *small, *options],
        capture_output=True, text=True, env=env | environment,
    )  # fmt: skip


@pytest.mark.slow
def test_a_room_that_is_ready_is_told_the_minutes(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith('This room is ready.\n')
    assert 'chapter 2 takes about' in done.stdout
    assert 'ok       64 creatures are drawn' in done.stdout
    assert 'MISSING' not in done.stdout


@pytest.mark.slow
def test_all_that_is_missing_is_named_with_its_cure(tmp_path):
    text = (ROOT / 'pyproject.toml').read_text(encoding='utf-8')
    wrong = text.replace('"scipy>=1.9.3"', '"scipy>=99"').replace(
        '"tqdm>=4.66"', '"no-such-thing>=1"'
    )
    assert wrong != text
    (tmp_path / 'pyproject.toml').write_text(wrong, encoding='utf-8')
    done = run(tmp_path, '--pyproject', str(tmp_path / 'pyproject.toml'), '--disk', '1e9')
    assert done.returncode == 1
    missing = [line for line in done.stdout.splitlines() if line.startswith('MISSING')]
    assert len(missing) == 3
    assert 'scipy>=99 is needed' in missing[0]
    assert 'no-such-thing is not installed. Run make setup' in missing[1]
    assert '1e+09 GB are needed' in missing[2]
    assert 'Not ready: 3 missing' in done.stderr
    assert 'minutes here' not in done.stdout


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('no folder')
    monkeypatch.setenv('D2L_GAN_DATA', str(tmp_path / 'file'))
    ((fine, words),) = ready.data(32)
    assert not fine
    assert 'Set D2L_GAN_DATA' in words


def test_the_minutes_are_those_of_the_machine_where_it_was_measured():
    assert ready.minutes(225) * 60 == pytest.approx(220, rel=0.1)
    assert ready.minutes(50) > 3 * ready.minutes(225)


@pytest.mark.slow
def test_a_stick_holds_what_a_student_needs_and_starts_without_a_network(tmp_path):
    stick, home = tmp_path / 'stick', tmp_path / 'home'
    env = os.environ | {'D2L_GAN_DATA': str(tmp_path / 'data')}
    made = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'stick.py', '--own', '--images', '32', '--to', stick],
        capture_output=True, text=True, env=env,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    held = {str(path.relative_to(stick)) for path in stick.rglob('*') if path.is_file()}
    assert {'README.txt', 'start.py', 'slides/02_dcgan.html'} <= held
    assert {'notebooks/02_dcgan.ipynb', 'notebooks/img/gan.svg'} <= held
    assert 'notebooks/exercises/02_dcgan_exercises.ipynb' in held
    assert not any('solutions' in name for name in held)
    assert sum(name.startswith('data/sprites-') and name.endswith('.png') for name in held) == 32
    (own,) = (stick / 'wheels').glob('d2l_gan-*.whl')

    def start(*options):
        command = [sys.executable, stick / 'start.py', '--check', '--to', home, *options]
        return subprocess.run(command, capture_output=True, text=True, env=env)

    lacking = start()  # no wheel of PyTorch there
    assert lacking.returncode != 0
    assert 'A wheel is missing for this machine' in lacking.stderr
    own.unlink()
    write_wheel(stick / 'wheels')
    done = start('--package', 'd2l-gan')
    assert done.stdout.endswith('The course is installed.\n'), done.stderr
    mine = home / 'notebooks' / '02_dcgan.ipynb'
    mine.write_text('mine')
    again = start()
    assert again.stdout == 'The course is installed.\n'
    assert mine.read_text() == 'mine'
    (stick / 'python.txt').write_text('2.7')
    assert 'This stick was made for Python 2.7' in start().stderr
