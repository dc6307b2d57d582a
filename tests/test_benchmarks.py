"""The benchmark stays alive: every row once, on next to nothing. Its figures mean nothing here."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / 'tools/benchmarks/bench.py'
pytestmark = pytest.mark.slow


def test_every_row_of_the_benchmark_runs():
    done = subprocess.run(
        [sys.executable, str(BENCH), '--tiny'], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    table, _, profiles = done.stdout[done.stdout.index('| what |') :].partition('\n\n')
    table = table.splitlines()[2:]
    assert 'run_backward' in profiles
    whats = [line.split('|')[1].strip() for line in table]
    for what in ('a drawn frame', 'chapter 1', '64 GANs', 'chapter 2', 'import d2l_gan'):
        assert any(row.startswith(what) for row in whats), what
    ratios = [float(r) for line in table for r in re.findall(r'([0-9.]+) x \|', line)]
    assert len(ratios) >= 7
    assert all(ratio > 0 for ratio in ratios)


def test_every_row_for_gpus_runs_on_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['gpu.py', '--tiny'])
    runpy.run_path(str(BENCH.with_name('gpu.py')), run_name='__main__')
    rows = capsys.readouterr().out.split('|---|---|---|---|\n')[1].splitlines()
    whats = [line.split(' | ')[0].strip('| ') for line in rows]
    assert whats == [
        "the textbook's loop, float32 (TF32 where there is)", 'ours, float32 (TF32 where there is)',
        "the textbook's loop, bfloat16", 'ours, bfloat16', 'ours: the GPU is busy',
        'training to all 32 sure cells', 'training to 4 x the floor',
    ]  # fmt: skip
    assert all(float(line.split(' | ')[1].split()[0].replace(',', '')) > 0 for line in rows[:4])
