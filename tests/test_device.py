"""Devices, seeds, and the names that are PyTorch's own."""

import random

import numpy as np
import pytest
import torch

import d2l_gan as d2l


def cuda_with(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)


def mps(monkeypatch, available):
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: available)


@pytest.mark.parametrize(
    ('gpus', 'apple', 'i', 'expected'),
    [
        (2, False, 0, 'cuda:0'),
        (2, True, 1, 'cuda:1'),
        (2, False, 2, 'cpu'),
        (0, True, 0, 'mps'),
        (0, True, 1, 'cpu'),
        (0, False, 0, 'cpu'),
    ],
)
def test_try_gpu_prefers_cuda_then_mps_then_cpu(monkeypatch, gpus, apple, i, expected):
    cuda_with(monkeypatch, gpus)
    mps(monkeypatch, apple)
    assert d2l.try_gpu(i) == torch.device(expected)


def test_try_gpu_refuses_a_negative_number():
    with pytest.raises(ValueError, match='i must be 0 or more'):
        d2l.try_gpu(-1)


def test_numpy_takes_tensors_that_need_a_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    assert isinstance(d2l.numpy(x), np.ndarray)
    assert d2l.numpy(x).shape == (2, 3)


def test_torchs_own_names():
    assert d2l.tensor is torch.tensor
    assert d2l.arange is torch.arange
    assert d2l.normal is torch.normal
    assert d2l.matmul is torch.matmul


def test_seed_everything_repeats_every_generator():
    def draw():
        d2l.seed_everything(7)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()
    d2l.seed_everything(8)
    assert torch.rand(1).item() != draw()[2]
