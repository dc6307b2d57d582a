"""The long experiments stay alive on next to nothing, and their new parts do what they say."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import experiments
import pytest
import torch
from torch import nn

TOOLS = Path(experiments.__file__).parent


def test_smooth_kernel_is_nearest_neighbour_then_convolution():
    W, X = torch.randn(5, 7, 3, 3).double(), torch.randn(2, 5, 6, 6).double()
    folded = nn.functional.conv_transpose2d(X, experiments.Smooth()(W), stride=2, padding=1)
    doubled = nn.functional.interpolate(X, scale_factor=2, mode='nearest')
    plain = nn.functional.conv2d(doubled, W.transpose(0, 1).flip(2, 3), padding=1)
    torch.testing.assert_close(folded, plain)


def test_copying_is_even_for_new_images_and_one_for_copies():
    torch.manual_seed(0)
    training, unseen, fresh = torch.randn(600, 2).split(200)
    assert experiments.copying(training, unseen, fresh) == pytest.approx(0.5, abs=0.12)
    assert experiments.copying(training, unseen, training + 1e-6) > 0.95
    assert math.isnan(experiments.copying(training, unseen, fresh + 100))  # nothing within reach


def test_neighbouring_rows_differ_in_one_thing():
    rows = experiments.ROWS
    for (_, *above), (name, *below) in zip(rows, rows[1:], strict=False):
        (*first, before), (*second, after) = above, below
        changed = sum(a != b for a, b in zip(first, second, strict=True))
        changed += len(set(before.items()) ^ set(after.items()))
        assert changed == 1, name


@pytest.mark.slow
def test_tiny_experiments_write_their_files(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'experiments.py'), '--tiny', '--to', str(tmp_path)],
        capture_output=True, text=True, timeout=600, env=os.environ | {'TQDM_DISABLE': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ladder, patience = (
        list(csv.DictReader((tmp_path / f'{name}.csv').open())) for name in ('ladder', 'patience')
    )
    names = {line['row'] for line in ladder}
    assert names == {row[0] for row in experiments.ROWS + experiments.CONTROLS} | {
        experiments.AVERAGED
    }
    for name in names:
        chosen = [line for line in ladder if line['row'] == name and line['chosen'] == 'yes']
        assert sorted(line['seed'] for line in chosen) == ['0', '1'], name
        assert len({line['lr'] for line in chosen}) == 1, name
    assert len({line['images'] for line in ladder}) == 1  # tiny: the controls' budget, too
    for line in ladder + patience:
        assert float(line['distance']) > 0
        assert 0 <= float(line['precision']) <= 1
        assert line['machine'] and line['date'] and line['torch']
    assert [line['minutes'] for line in patience] == ['1', '2']
    assert (tmp_path / 'patience-01-minutes.png').stat().st_size > 1000
