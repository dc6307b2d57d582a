"""Batches: every example once, in a new order; images kept as bytes, exactly."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from d2l_gan import batches, sprites

ROOT = Path(__file__).parents[1]


def test_load_array_gives_every_example_once_with_its_partner():
    X, y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
    data_iter = batches.load_array((X, y), 4)
    assert len(data_iter) == 3
    parts = list(data_iter)
    assert [tuple(x.shape) for x, _ in parts] == [(4, 2), (4, 2), (2, 2)]
    assert sorted(torch.cat([labels for _, labels in parts]).tolist()) == list(range(10))
    for x, labels in data_iter:
        assert torch.equal(x, X[labels])
    assert sum(len(x) for (x,) in batches.load_array([X], 4)) == 10
    assert len(batches.load_array((X,), 10)) == len(batches.load_array((X,), 99)) == 1


def test_load_array_shuffles_anew_on_each_pass_when_training_only():
    def orders(is_train):
        torch.manual_seed(0)
        data_iter = batches.load_array((torch.arange(100),), 7, is_train)
        return [torch.cat([x for (x,) in data_iter]).tolist() for _ in range(3)]

    in_order = list(range(100))
    assert orders(False) == [in_order] * 3
    first, second, third = orders(True)
    assert in_order not in (first, second, third) and first != second != third != first
    assert orders(True) == [first, second, third], 'a seed repeats it'


def test_load_array_gives_batches_that_may_be_written_to():
    X = torch.zeros(6, 2)
    for is_train in (True, False):
        for (x,) in batches.load_array((X,), 6, is_train):
            x += 1
    assert X.sum() == 0


@pytest.mark.parametrize(
    ('arrays', 'batch_size', 'error', 'message'),
    [
        (
            torch.zeros(4, 2),
            2,
            TypeError,
            r'data_arrays .* \(data,\); got a tensor of shape \(4, 2',
        ),
        (([1, 2],), 2, TypeError, 'data_arrays must be a tuple of tensors, .* got one with a list'),
        ((torch.zeros(4, 2), torch.zeros(3)), 2, ValueError, r'first dimension.*\(4, 2\), \(3,\)'),
        ((torch.zeros(4), torch.tensor(1.0)), 2, ValueError, r'first dimension.*\(4,\), \(\)'),
        ((torch.zeros(0, 2),), 2, ValueError, r'at least 1; got \(\(0, 2\),\)'),
        ((), 2, ValueError, 'data_arrays .* got'),
        ((torch.zeros(4),), 0, ValueError, 'batch_size should be .* positive .*batch_size=0'),
    ],
)
def test_load_array_says_what_does_not_fit(arrays, batch_size, error, message):
    with pytest.raises(error, match=message):
        batches.load_array(arrays, batch_size)


@pytest.mark.parametrize('method', ['fork', 'forkserver', 'spawn'])
def test_workers_only_where_a_notebook_can_have_them(monkeypatch, method):
    for asked in (method, None):  # set by somebody, or the system's default
        monkeypatch.setattr(multiprocessing, 'get_start_method', lambda allow_none, x=asked: x)
        monkeypatch.setattr(multiprocessing, 'get_all_start_methods', lambda: [method, 'other'])
        for cores in (1, 3, 64):
            monkeypatch.setattr(os, 'sched_getaffinity', lambda _, n=cores: range(n), raising=False)
            expected = min(cores, 4) if method == 'fork' else 0
            assert batches.get_dataloader_workers() == expected


@pytest.mark.slow
def test_asking_for_workers_does_not_fix_the_start_method():
    code = """
import multiprocessing
print(batches.get_dataloader_workers())
assert multiprocessing.get_start_method(allow_none=True) is None
"""
    command = [sys.executable, '-c', 'from d2l_gan import batches\n' + code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() in ('0', '1', '2', '3', '4'), done.stderr
    assert done.stderr == ''


def test_in_memory_gives_the_loaders_images_back_exactly_and_reads_them_once(tmp_path):
    T = torchvision.transforms
    dataset = torchvision.datasets.ImageFolder(
        sprites(64, folder=tmp_path / 'sprites'),
        T.Compose([T.ToTensor(), T.Normalize(0.5, 0.5)]),
    )
    expected = torch.stack([X for X, _ in dataset])
    images = batches.InMemory(torch.utils.data.DataLoader(dataset, batch_size=24), 24)
    assert images.pixels.dtype == torch.uint8
    torch.testing.assert_close(images[:], expected)
    assert len(images) == 3
    dataset.samples.clear()
    torch.manual_seed(0)
    passes = [list(images) for _ in range(2)]
    assert [len(X) for X, _ in passes[0]] == [24, 24, 16]
    assert not torch.equal(passes[0][0][0], passes[1][0][0])
    for one in passes:
        X, y = (torch.cat(parts) for parts in zip(*one, strict=True))
        gap = (X[:, None] - expected).abs().flatten(2).amax(2)
        index = gap.argmin(1)
        assert gap.amin(1).max() < 1e-5
        assert sorted(index.tolist()) == list(range(64))
        assert torch.equal(y, images.labels[index])


def little_loader(count=40, batch_size=16, **kwargs):
    X = torch.randint(0, 256, (count, 3, 4, 4)) / 127.5 - 1
    dataset = torch.utils.data.TensorDataset(X, torch.arange(count))
    return X, torch.utils.data.DataLoader(dataset, batch_size, **kwargs)


class Countless(torch.utils.data.TensorDataset):
    def __len__(self):
        return 10**15


def test_in_memory_says_so_where_memory_has_no_room():
    dataset = Countless(torch.zeros(1, 3, 4, 4), torch.zeros(1))
    with pytest.raises(MemoryError, match='0 images take 48000000000 MB, more than cpu memory has'):
        batches.InMemory(torch.utils.data.DataLoader(dataset, 16), 16)


@pytest.mark.parametrize(('free', 'expected'), [(2 * 40 * 48, 'cuda'), (2 * 40 * 48 - 1, 'cpu')])
def test_in_memory_takes_at_most_half_of_what_the_gpu_has_left(monkeypatch, free, expected):
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (free, 10**12))
    asked = []
    monkeypatch.setattr(torch, 'empty', lambda *shape, device, **kwargs: asked.append(device.type))
    batches._allocate((40, 3, 4, 4), torch.device('cuda'))
    assert asked == [expected]


def double(samples):
    X, y = torch.utils.data.default_collate(samples)
    return X / 2, y


def test_in_memory_respects_a_loaders_own_way_of_making_batches():
    X, loader = little_loader(collate_fn=double)
    torch.testing.assert_close(batches.InMemory(loader, 16)[:], X / 2, atol=1 / 127.5, rtol=0)
    X, _ = little_loader()
    loader = batches.load_array((X, torch.arange(40)), 16, is_train=False)
    torch.testing.assert_close(batches.InMemory(loader, 16)[:], X)


def test_in_memory_keeps_what_the_loader_gives_and_no_more():
    X, loader = little_loader(drop_last=True)
    images = batches.InMemory(loader, 16)
    torch.testing.assert_close(images[:], X[:32])
    assert len(images.labels) == 32
