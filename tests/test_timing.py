"""Timer, progress and Accumulator."""

import math
import sys
import time
import warnings

import pytest
import torch

import d2l_gan as d2l


def test_timer_measures_laps():
    timer = d2l.Timer()
    time.sleep(0.05)
    first = timer.stop()
    timer.start()
    time.sleep(0.1)
    second = timer.stop()
    assert 0.05 <= first < 0.5
    assert 0.1 <= second < 0.5
    assert timer.times == [first, second]
    assert timer.sum() == first + second
    assert timer.avg() == pytest.approx((first + second) / 2)
    assert timer.cumsum() == pytest.approx([first, first + second])


def test_timer_without_laps_averages_zero():
    assert d2l.Timer().avg() == 0


def test_timer_reads_perf_counter(monkeypatch):
    """The clock that never jumps: the system clock may be set back while a net trains."""
    monkeypatch.setattr(time, 'time', lambda: pytest.fail('Timer read the system clock'))
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(time, 'perf_counter', lambda: next(clock))
    assert d2l.Timer().stop() == 2.5


@pytest.mark.parametrize('given', [None, 'cuda:0', torch.device('cuda:0')])
def test_timer_waits_for_the_device_before_it_reads(monkeypatch, given):
    """No accelerator here: what is tested is that the wait comes first, and on which device."""
    events = []
    current = torch.device('cuda:0')
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: True)
    monkeypatch.setattr(torch.accelerator, 'current_accelerator', lambda: current)
    monkeypatch.setattr(torch.accelerator, 'synchronize', lambda d: events.append(str(d)))
    monkeypatch.setattr(time, 'perf_counter', lambda: events.append('clock') or 0.0)
    d2l.Timer(given).stop()
    assert events == ['cuda:0', 'clock', 'cuda:0', 'clock']


@pytest.mark.skipif(not torch.accelerator.is_available(), reason='no accelerator here')
def test_timer_counts_the_work_of_a_real_accelerator():
    device = torch.accelerator.current_accelerator()
    x = torch.randn(4096, 4096, device=device)
    x @ x
    timer = d2l.Timer(device)
    for _ in range(50):
        x @ x
    queued = time.perf_counter() - timer.tik
    assert timer.stop() > 2 * queued


def test_accumulator_adds_numbers_and_tensors():
    metric = d2l.Accumulator(3)
    metric.add(1, 2.5, torch.tensor(3))
    metric.add(1, torch.tensor([[0.5]]), 4)
    assert [metric[i] for i in range(3)] == [2.0, 3.0, 7.0]
    assert all(type(metric[i]) is float for i in range(3))
    metric.reset()
    assert [metric[i] for i in range(3)] == [0.0, 0.0, 0.0]


def test_accumulator_takes_attached_tensors_and_keeps_no_graph():
    w = torch.ones((), requires_grad=True)
    metric = d2l.Accumulator(1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for _ in range(3):
            metric.add(w * 2)
        assert metric[0] == 6.0
    assert not metric.data[0].requires_grad
    assert metric.data[0].grad_fn is None


def test_accumulator_does_not_read_a_tensor_before_it_is_asked():
    """Reading makes the program wait for the device; a meta tensor cannot be read at all."""
    metric = d2l.Accumulator(1)
    for _ in range(2):
        metric.add(torch.ones((), device='meta'))
    with pytest.raises(RuntimeError):
        metric[0]


def test_accumulator_sums_in_double_precision():
    metric = d2l.Accumulator(1)
    metric.add(torch.tensor(2.0**24))
    for _ in range(10):
        metric.add(torch.tensor(1.0))
    assert metric[0] == 2**24 + 10


def test_accumulator_says_what_it_expected():
    with pytest.raises(ValueError, match='one value per sum, 2; got 1'):
        d2l.Accumulator(2).add(1)
    with pytest.raises(ValueError, match=r'one-element tensors; got shape \(3,\)'):
        d2l.Accumulator(1).add(torch.zeros(3))
    with pytest.raises(ValueError, match='n must be at least 1'):
        d2l.Accumulator(0)


def test_timer_adds_up_many_laps_as_a_loop_does(monkeypatch):
    ticks = iter([0.0, 1.0, 5.0, 7.0, 7.5, 8.0, 100.0])  # the last lap was not started anew
    monkeypatch.setattr(time, 'perf_counter', lambda: next(ticks))
    timer = d2l.Timer()
    laps = [timer.stop()]
    for _ in range(2):
        timer.start()
        laps.append(timer.stop())
    laps.append(timer.stop())
    assert timer.times == laps == [1.0, 2.0, 0.5, 92.5]
    assert (timer.sum(), timer.avg()) == (96.0, 24.0)
    assert timer.cumsum() == [1.0, 3.0, 3.5, 96.0]
    assert all(type(seconds) is float for seconds in timer.cumsum())


def test_timer_does_not_wait_for_a_device_that_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, 'synchronize', lambda d: pytest.fail('waited'))
    assert d2l.Timer('cpu').stop() >= 0


def test_accumulator_agrees_with_exact_sums():
    """Against `math.fsum`, numbers and tensors mixed, anew after a reset."""
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = d2l.Accumulator(3)
    assert len(metric) == 3
    for _ in range(2):
        for i, (a, b, c) in enumerate(rows):
            metric.add(a, b.item(), c if i % 2 else c.item())
        for k in range(3):
            assert metric[k] == pytest.approx(math.fsum(rows[:, k].tolist()), abs=1e-12)
        metric.reset()
        assert [*map(metric.__getitem__, range(3))] == [0, 0, 0]


@pytest.mark.parametrize('hidden', [True, False])
def test_the_bar_of_a_notebook_can_be_turned_off(hidden, monkeypatch):
    from tqdm.notebook import tqdm as in_a_notebook

    monkeypatch.setattr(sys.modules['d2l_gan.timing'], 'tqdm', in_a_notebook)
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    if hidden:
        monkeypatch.setenv('TQDM_DISABLE', '1')
    bar = d2l.progress(range(3), desc='epochs')
    assert bar.disable == hidden
    assert list(bar) == [0, 1, 2]
