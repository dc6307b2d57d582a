"""The long experiments stay alive on next to nothing, and what they left is whole."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import experiments
import pytest
from experiments import CURE, RATES, RESULTS, ROWS
from PIL import Image

TOOLS = Path(experiments.__file__).parent


def read(file):
    with file.open(encoding='utf-8') as lines:
        return list(csv.DictReader(lines))


def test_neighbouring_rows_differ_in_one_thing():
    for above, below in zip(ROWS, ROWS[1:], strict=False):
        changed = [a != b for a, b in zip(above[1:], below[1:], strict=True)]
        assert sum(changed) == 1, below.name
    assert ROWS[-1] == CURE


def check_ladder(lines, seeds):
    assert list(dict.fromkeys(line['row'] for line in lines)) == [row.name for row in ROWS]
    assert len({line['images'] for line in lines}) == 1
    for name in (row.name for row in ROWS):
        tried = [line for line in lines if line['row'] == name and line['seed'] == '0']
        chosen = [line for line in lines if line['row'] == name and line['chosen'] == 'yes']
        assert [line['seed'] for line in chosen] == seeds, name
        assert len({line['lr'] for line in chosen}) == 1, name
        best = min(float(line['distance']) for line in tried)
        assert float(chosen[0]['distance']) == best, name
        assert {float(line['lr']) for line in tried} >= set(RATES), name


def check_every(lines):
    for line in lines:
        assert float(line['distance']) > 0
        assert 0 <= float(line['precision']) <= 1
        assert 0 <= int(line.get('sure cells') or line['sure_cells']) <= 32
        assert line['machine'] and line['date'] and line['torch']


def check_batch(lines, sizes, seeds):
    check_every(lines)
    runs = [(line['batch'], line['lr'], line['seed']) for line in lines]
    rates = {'32': ['0.004'], '64': ['0.004', '0.00566'], '128': ['0.004', '0.008']}
    assert runs == [(size, lr, seed) for size in sizes for lr in rates[size] for seed in seeds]
    assert len({int(line['batch']) * int(line['steps']) for line in lines}) == 1
    assert len({line['images'] for line in lines}) == 1


@pytest.mark.slow
def test_tiny_experiments_write_their_files(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'experiments.py'), '--tiny', '--to', str(tmp_path)]
        + ['ladder', 'patience', 'pace', 'batch'],
        capture_output=True, text=True, timeout=600, env=os.environ | {'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines, patience = read(tmp_path / 'ladder.csv'), read(tmp_path / 'patience.csv')
    check_ladder(lines, ['0', '1'])
    check_every(lines + patience)
    assert [(line['minutes'], line['seed']) for line in patience] == [
        ('1', '0'), ('2', '0'), ('2', '1')
    ]  # fmt: skip
    assert float(read(tmp_path / 'pace.csv')[0]['images/s']) > 0
    check_batch(read(tmp_path / 'batch.csv'), ['64'], ['0'])
    for name, rows in (('ladder', len(ROWS)), ('patience', 2)):
        with Image.open(tmp_path / f'{name}.png') as picture:
            assert picture.height == rows * 128
            assert picture.width > 8 * 128


def test_the_stored_ladder_is_whole():
    lines = read(RESULTS / 'ladder.csv')
    check_ladder(lines, ['0', '1', '2'])
    check_every(lines)


def test_the_stored_batches_are_whole():
    check_batch(read(RESULTS / 'batch.csv'), ['32', '64', '128'], ['0', '1', '2'])


def test_the_stored_patience_is_whole():
    lines = read(RESULTS / 'patience.csv')
    check_every(lines)
    runs = [(int(line['minutes']), int(line['seed'])) for line in lines]
    assert runs == [(1, 0), *((2, seed) for seed in range(5)), (5, 0), (10, 0), (30, 0)]
    for line in lines:
        images = 60 * float(line['minutes']) * float(line['images/s'])
        assert abs(int(line['images']) - images) <= 2048 + 1, 'to the nearest epoch'
