"""Devices, seeds, and the names that are PyTorch's own."""

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

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


def test_mixed_precision_is_the_same_step_to_three_digits():
    """Gradients of a convolutional game, with and without, where it acts on this machine."""

    def gradients(device, mixed):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4)
        ).to(device)
        X = torch.randn(16, 3, 8, 8, device=device, requires_grad=True)
        with d2l.mixed_precision(device) if mixed else nullcontext():
            Y = net(X).float()
        loss = nn.functional.softplus(-Y).mean()
        (slope,) = torch.autograd.grad(Y.sum(), X, create_graph=True)
        loss = loss + slope.square().sum((1, 2, 3)).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])

    device = d2l.try_gpu()
    plain, mixed = gradients(device, False), gradients(device, True)
    assert (mixed - plain).norm() < 0.02 * plain.norm()


def test_mixed_precision_acts_where_the_device_gains_and_nowhere_else(monkeypatch):
    layer, X = nn.Linear(4, 4), torch.ones(2, 4)
    for unit, gains in (('amx_bf16', True), ('avx512_bf16', True), ('avx512_f', False)):
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda u=unit: {u: True}, raising=False)
        with d2l.mixed_precision('cpu'):
            assert layer(X).dtype == (torch.bfloat16 if gains else torch.float32)
    with d2l.mixed_precision('mps'):
        assert layer(X).dtype == torch.float32


def test_mixed_precision_stays_away_where_pytorch_does_not_know_the_cpu(monkeypatch):
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    with d2l.mixed_precision('cpu'):
        assert nn.Linear(4, 4)(torch.ones(2, 4)).dtype == torch.float32


def test_mixed_precision_sees_a_weight_that_a_step_has_changed(monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'amx_bf16': True}, raising=False)
    layer, X = nn.Linear(4, 4), torch.ones(2, 4)
    with d2l.mixed_precision('cpu'):
        before = layer(X)
        layer.weight.data.add_(1)
        assert torch.allclose(layer(X) - before, torch.tensor(4.0, dtype=torch.bfloat16), atol=0.1)


def test_seed_everything_starts_each_generator_as_its_own_seed_does():
    d2l.seed_everything(11)
    seen = random.random(), np.random.rand(), torch.rand(1).item()
    generators = random.Random(11), np.random.RandomState(11), torch.Generator().manual_seed(11)
    mine = generators[0].random(), generators[1].rand(), torch.rand(1, generator=generators[2])
    assert seen == (mine[0], mine[1], mine[2].item())


def test_numpy_keeps_values_and_type():
    x = torch.arange(6).reshape(2, 3)
    assert d2l.numpy(x).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert d2l.numpy(x).dtype == np.int64
    assert d2l.numpy(x.double().requires_grad_() * 2).dtype == np.float64
