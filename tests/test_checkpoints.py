"""A run on disk: resumed as if it had never stopped, whole or not at all, strangers refused."""

import os
import pickle
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import d2l_gan as d2l

DATA = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def make_run(width=5, seed=0):
    torch.manual_seed(seed)
    net_G = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    net_D = nn.Sequential(nn.Linear(2, width), nn.Dropout(0.2), nn.Tanh(), nn.Linear(width, 1))
    return {
        'net_D': net_D,
        'net_G': net_G,
        'trainer_D': torch.optim.Adam(net_D.parameters(), lr=0.01),
        'trainer_G': torch.optim.SGD(net_G.parameters(), lr=0.01, momentum=0.9),
        'mean_G': AveragedModel(net_G, use_buffers=True),
    }


def train(run, num_epochs, path=None, resume=False):
    """Record the losses; save after each epoch where a path is given."""
    losses = d2l.load_checkpoint(path, run)['losses'] if resume else []
    loss = nn.BCEWithLogitsLoss()
    for epoch in range(len(losses), num_epochs):
        run['trainer_D'].param_groups[0]['lr'] = 0.01 / (1 + epoch)
        total = 0.0
        for (X,) in d2l.load_array((DATA,), 8):
            Z = torch.randn(len(X), 2)
            nets = run['net_D'], run['net_G']
            total += d2l.update_D(X, Z, *nets, loss, run['trainer_D']).item()
            total += d2l.update_G(Z, *nets, loss, run['trainer_G']).item()
            run['mean_G'].update_parameters(run['net_G'])
        losses.append(total)
        if path:
            d2l.save_checkpoint(path, run, losses=losses)
    return losses


def states(run):
    return deepcopy({name: part.state_dict() for name, part in run.items()})


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize('stop', [1, 3])
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(tmp_path, stop):
    whole = make_run()
    losses = train(whole, 5)
    train(make_run(), stop, tmp_path / 'run.pt')
    resumed = make_run(seed=99)  # other weights, other random numbers
    torch.rand(7)
    assert train(resumed, 5, tmp_path / 'run.pt', resume=True) == losses
    assert same(states(resumed), states(whole))


def test_values_come_back_as_they_were(tmp_path):
    values = {
        'epoch': 3, 'note': 'ä', 'snapshots': [torch.arange(3)], 'scores': {'kl': (0.1, None)},
    }  # fmt: skip
    d2l.save_checkpoint(tmp_path / 'new' / 'folder' / 'run.pt', {}, **values)
    assert same(d2l.load_checkpoint(tmp_path / 'new' / 'folder' / 'run.pt', {}), values)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / 'run.pt'
    train(make_run(), 1, path)
    return path


def refused(path, run, *words):
    """It is refused, in these words, and neither the run nor the random numbers have changed."""
    before, random = states(run), torch.get_rng_state()
    with pytest.raises(d2l.CheckpointError) as info:
        d2l.load_checkpoint(path, run)
    assert same(states(run), before)
    assert torch.equal(torch.get_rng_state(), random)
    for word in (str(path), *words):
        assert word in str(info.value)


def test_a_file_cut_off_anywhere_is_refused(saved):
    whole = saved.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        refused(saved, make_run(seed=1), 'damaged')


def test_a_flipped_bit_in_a_weight_is_refused(saved):
    weight = torch.load(saved)['parts']['net_G']['0.weight'].numpy().tobytes()
    damaged = bytearray(saved.read_bytes())
    damaged[damaged.index(weight) + 2] ^= 1
    saved.write_bytes(damaged)
    torch.load(saved)  # PyTorch alone does not notice
    refused(saved, make_run(seed=1), 'damaged', 'checksum')


def test_text_and_pictures_are_refused(tmp_path):
    (tmp_path / 'notes.pt').write_text('my notes')
    refused(tmp_path / 'notes.pt', make_run(), 'no checkpoint')


def test_another_pytorch_file_is_refused(tmp_path):
    for stranger in ({'a': torch.ones(1)}, [1], torch.ones(2)):
        torch.save(stranger, tmp_path / 'weights.pt')
        refused(tmp_path / 'weights.pt', make_run(), 'not one of d2l.save_checkpoint')


class Trap:
    def __reduce__(self):
        return Path.touch, (Path('trapped'),)


def test_code_in_a_file_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'format': 'd2l_gan checkpoint 1', 'parts': Trap()}, 'trap.pt')
    refused(Path('trap.pt'), make_run(), 'asks for code')
    assert not Path('trapped').exists()
    with open('trap.pt', 'rb') as file:
        torch.load(file, weights_only=False)
    assert Path('trapped').exists()  # the trap was a real one
    Path('old.pt').write_bytes(pickle.dumps(Trap()))
    refused(Path('old.pt'), make_run())


def test_a_checkpoint_of_other_networks_is_refused_whole(saved):
    refused(saved, make_run(width=6), 'another net_D', 'size mismatch')
    run = make_run(seed=1)
    run['net_H'] = run.pop('net_G')
    refused(saved, run, 'net_G', 'net_H')
    run = make_run(seed=1)
    run['trainer_G'] = torch.optim.SGD(run['net_D'].parameters(), lr=1, momentum=0.9)
    refused(saved, run, 'another trainer_G')


def test_an_optimiser_with_moments_of_other_shapes_is_refused(tmp_path):
    def run(*shape):
        net = nn.Linear(*shape)
        trainer = torch.optim.Adam(net.parameters(), lr=0.1)
        net(torch.ones(1, shape[0])).sum().backward()
        trainer.step()
        return {'trainer': trainer}

    d2l.save_checkpoint(tmp_path / 'run.pt', run(2, 3))
    refused(tmp_path / 'run.pt', run(3, 2), 'another trainer', '(3, 2), not (2, 3)')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint at .*run.pt'):
        d2l.load_checkpoint(tmp_path / 'run.pt', make_run())


def test_what_cannot_be_saved_leaves_the_old_file(saved):
    whole = saved.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        d2l.save_checkpoint(saved, make_run(), loss=lambda Y: Y)
    assert saved.read_bytes() == whole
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_is_not_replaced_by_a_file(saved):
    with pytest.raises(OSError):
        d2l.save_checkpoint(saved.parent, make_run())
    assert list(saved.parent.iterdir()) == [saved]


def test_the_bytes_reach_the_disk_before_the_name(saved, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=call: (calls.append(n), f(*a)))
    d2l.save_checkpoint(saved, make_run())
    assert calls == ['fsync', 'replace']


def test_a_full_disk_leaves_the_old_file(saved):
    resource = pytest.importorskip('resource')
    whole = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises((OSError, RuntimeError)):
            d2l.save_checkpoint(saved, make_run(), many=torch.zeros(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert saved.read_bytes() == whole
    assert list(saved.parent.iterdir()) == [saved]


SAVING = """
import sys, torch, d2l_gan as d2l
for k in range(10**9):
    d2l.save_checkpoint(sys.argv[1], {}, k=k, weights=torch.full((500_000,), k))
    if k == 3:
        print('ready', flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_while_saving_leaves_a_whole_file(tmp_path):
    path, unfinished = tmp_path / 'run.pt', 0
    for k in range(5):
        command = [sys.executable, '-c', SAVING, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline().strip() == b'ready'
            time.sleep(0.013 * k)
            process.kill()
        values = d2l.load_checkpoint(path, {})
        assert (values['weights'] == values['k']).all()
        assert values['k'] >= 3
        unfinished += len(list(tmp_path.iterdir())) - 1
    print(f'{unfinished} of 5 kills came in the middle of a write')


def test_where_a_gpu_is_the_run_may_be_taken_up_there(saved):
    if not torch.cuda.is_available():
        pytest.skip('needs an accelerator')
    run = make_run(seed=1)
    run['net_D'].cuda()
    train_state = d2l.load_checkpoint(saved, run)
    assert train_state['losses']
    assert run['net_D'][0].weight.is_cuda
