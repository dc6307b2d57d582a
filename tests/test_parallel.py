"""What several processes need of PyTorch, and what it refuses them: in two real processes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from d2l_gan import parallel

SCRIPT = """
import copy
import json
from pathlib import Path
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
import d2l_gan as d2l
from d2l_gan import parallel


def refusal(work):
    try:
        work()
    except (RuntimeError, ValueError) as error:
        return str(error)


def gradient(net_D, real_X, fake_X):
    '''Two forward passes before one backward pass.'''
    d2l.pair_loss(net_D(real_X), net_D(fake_X)).backward()
    return torch.cat([w.grad.flatten() for w in net_D.parameters()])


def look():
    torch.manual_seed(0)
    real_X, fake_X = torch.randn(2, 8, 3, 4, 4)
    plain = nn.Sequential(nn.Conv2d(3, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 1))
    shared, synced = copy.deepcopy(plain), copy.deepcopy(plain)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(synced)
    parallel.share_batch_norm(shared)
    mine = gradient(parallel.together(shared), parallel.part(real_X), parallel.part(fake_X))
    found = {'SyncBatchNorm': refusal(lambda: synced(real_X))}
    whole = gradient(copy.deepcopy(plain), real_X, fake_X)
    found['two forward passes'] = (mine - whole).abs().max().item()

    net_D = DistributedDataParallel(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)))
    X = torch.randn(4, 2, requires_grad=True)
    d2l.r1_penalty(net_D(X), X).backward()  # the last bias has no part in it
    found['next forward pass'] = refusal(lambda: net_D(X))
    return found


with parallel.group(torch.device('cpu')):
    found = look()
    leads = parallel.rank() == 0
found['threads'] = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
if leads:
    print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_forward_passes_are_exact_and_pytorch_refuses_what_chapter_3_says(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    line = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    done = subprocess.run(
        [*line, tmp_path / 'script.py'], env=os.environ | {'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found['two forward passes'] < 1e-6
    assert 'GPU' in found['SyncBatchNorm']
    assert 'not used in producing loss' in found['next forward pass']
    # one that still runs while Python ends can abort the process
    assert not [name for name in found['threads'] if 'gloo' in name]


def test_statistics_of_few_digits_are_taken_in_many(monkeypatch):
    X = (torch.randn(64, 3, 8, 8) + 5).bfloat16()
    layer = nn.BatchNorm2d(3)
    expected = layer(X.float())
    parallel.share_batch_norm(layer)
    monkeypatch.setattr(parallel, 'world_size', lambda: 2)
    monkeypatch.setattr(parallel.SumOfAll, 'apply', lambda sums: sums)
    assert (layer(X).float() - expected).abs().max() < 0.02
    assert layer(X).dtype == torch.bfloat16


def test_all_processes_of_a_machine_have_a_gpu_of_their_own_or_none(monkeypatch):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert parallel.own_device() == torch.device('cpu')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(parallel, 'try_gpu', lambda number: torch.device('cuda', number))
    assert parallel.own_device() == torch.device('cuda:1')
