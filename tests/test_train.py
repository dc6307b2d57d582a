"""The command that trains outside of the notebook: in real processes, stopped and killed."""

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from cells import sources
from PIL import Image

from d2l_gan import dcgan, parallel, pictures, take, train

SMALL = '--width-d 2 --width-g 2 --latent-dim 4 --batch-size 16 --score-images 16 --every 1000'
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
HERE = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder of 64 pictures of several sizes and kinds."""
    folder = tmp_path_factory.mktemp('data') / 'pictures'
    random = np.random.default_rng(0)
    for i in range(64):
        side = 48 + 8 * (i % 4)
        pixels = random.integers(0, 255, (side, 64, 3 if i % 3 else 4), dtype=np.uint8)
        path = folder / f'kind{i % 2}' / f'{i:02}.{"png" if i % 3 == 0 else "jpg"}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(autouse=True)
def handlers():
    """Leave the process's own answers to signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(out, *options):
    """Train in this process; the exit code."""
    try:
        train.main([*SMALL.split(), '--out', str(out), *map(str, options)])
    except SystemExit as end:
        return end.code
    return 0


def start(command, out, *options, **more):
    """Train in processes of its own."""
    line = [*command, *SMALL.split(), '--out', str(out), *map(str, options)]
    env = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(HERE)} | more.pop('env', {})
    pipe = subprocess.PIPE
    return subprocess.Popen(line, env=env, stdout=pipe, stderr=pipe, text=True, **more)


def module(*before):
    return [*(before or [sys.executable]), '-m', 'd2l_gan.train']


def script(tmp_path, code):
    """A script that changes something first, and then trains."""
    path = tmp_path / 'changed.py'
    path.write_text(code + '\nif __name__ == "__main__":\n    train.main(sys.argv[1:])\n')
    return str(path)


def history(out):
    with open(out / 'history.csv', newline='') as file:
        return list(csv.DictReader(file))


def weights(out, name='step-*.pt'):
    """The weights of the newest checkpoint."""
    path = sorted((out / 'checkpoints').glob(name))[-1]
    parts = torch.load(path, weights_only=True)['parts']
    nets = {n: parts[n] for n in ('net_D', 'net_G', 'mean_G')}
    return {f'{n}.{k}': w for n, state in nets.items() for k, w in state.items()}


def farthest(one, other):
    """The largest difference between learnt weights."""
    learnt = [k for k, w in one.items() if w.is_floating_point() and 'running' not in k]
    return max((one[k] - other[k]).abs().max().item() for k in learnt)


def lengthen(out, steps):
    """Let a run that has ended have more steps to go."""
    path = max((out / 'checkpoints').glob('step-*.pt'))
    state = torch.load(path, weights_only=True)
    state['values']['steps'] = steps
    torch.save(state, path)


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


# What is trained


def test_the_networks_are_the_chapters_word_for_word():
    chapter = sources('02_dcgan')
    for names, cell in (
        (['G_block'], 'g-block-def'), (['D_block'], 'd-block-def'), (['free_first_block'], 'free'),
        (['Smooth', 'smooth_kernels'], 'smooth'), (['play'], 'play'),
    ):  # fmt: skip
        for name in names:
            assert inspect.getsource(getattr(dcgan, name)).strip() in chapter[cell], name
    ours = inspect.getsource(dcgan.sure_cells).replace('filled_cells(', 'd2l.filled_cells(')
    assert ours.strip() in chapter['sure-cells']
    names = {'nn': torch.nn, 'torch': torch, 'latent_dim': 7, 'n_G': 3, 'n_D': 5}
    for cell in ('g-block-def', 'net-g-def', 'd-block-def', 'net-d-def'):
        exec(chapter[cell], names)
    assert str(names['net_G']) == str(dcgan.make_G(7, 3))
    assert str(names['net_D']) == str(dcgan.make_D(5))


def test_pictures_of_any_size_and_kind(data, tmp_path, capsys):
    paths = pictures.find_pictures(str(data), 0)
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    pixels, broken = pictures.read_pictures([*paths, tmp_path / 'broken.png'])
    assert pixels.shape == (64, 3, 64, 64)
    assert pixels.dtype == torch.uint8
    assert broken == [tmp_path / 'broken.png']
    Image.new('RGBA', (30, 80), (255, 0, 0, 0)).save(tmp_path / 'clear.png')
    assert (pictures.read_picture(tmp_path / 'clear.png') == 255).all()
    greys = np.full((64, 64), 0x4000, dtype=np.uint16)
    Image.fromarray(greys).save(tmp_path / 'grey.png')
    assert (pictures.read_picture(tmp_path / 'grey.png') == 0x40).all()
    lying, held = Image.new('RGB', (64, 64), 'black'), Image.Exif()
    lying.paste('white', (0, 0, 32, 64))
    held[0x0112] = 6  # turn it clockwise to see it upright
    lying.save(tmp_path / 'turned.png', exif=held)
    upright = pictures.read_picture(tmp_path / 'turned.png')
    assert (upright[:, :32] == 255).all() and (upright[:, 32:] == 0).all()


def test_too_few_pictures_or_none_is_an_error_with_its_cure(tmp_path, capsys):
    assert run(tmp_path / 'a', '--data', tmp_path / 'nowhere') == 2
    assert 'is no folder; nor sprites, nor pokemon' in capsys.readouterr().err
    (tmp_path / 'empty').mkdir()
    assert run(tmp_path / 'b', '--data', tmp_path / 'empty') == 2
    assert 'no pictures in' in capsys.readouterr().err
    Image.new('RGB', (8, 8)).save(tmp_path / 'empty' / 'one.png')
    (tmp_path / 'empty' / 'two.jpg').write_bytes(b'')
    assert run(tmp_path / 'c', '--data', tmp_path / 'empty') == 2
    out, err = capsys.readouterr()
    assert '1 of 2 files are no pictures' in out
    assert f'No picture: {tmp_path / "empty" / "two.jpg"}' in out
    assert '1 pictures in' in err and 'at least 16 are needed' in err


@pytest.mark.parametrize(('options', 'reason'), (
    (['--width-g', '0'], 'width_g must be at least 1; got 0'),
    (['--lr', '2'], 'lr must be 0 to 1; got 2.0'),
    (['--minutes', 'inf'], 'minutes must be finite; got inf'),
    (['--loss', 'piared'], "none of classic, saturating, paired. Did you mean paired?"),
    (['--remedies', 'r1,blurr'], "remedies: 'blurr' is none of"),
    (['--config', '{"widht_g": 3}'], "'widht_g' is none of"),
    (['--config', '{"lr": "fast"}'], "lr must be of type float; got 'fast'"),
    (['--config', '{'], 'cannot be read as JSON'),
    (['--resume'], 'holds no run to go on with'),
))  # fmt: skip
def test_what_is_unknown_or_impossible_is_refused_by_name(tmp_path, capsys, options, reason):
    if options[0] == '--config':
        (tmp_path / 'file.json').write_text(options[1])
        options = ['--config', tmp_path / 'file.json']
    assert run(tmp_path / 'run', *options) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_more_processes_than_a_step_has_images_for_are_refused(monkeypatch):
    monkeypatch.setattr(parallel, 'world_size', lambda: 9)
    with pytest.raises(train.Refused, match='batch_size must be at least 18, for 9 processes'):
        train.shared_by_all(train.Config(batch_size=16))


def test_only_the_torchrun_that_began_a_run_goes_on_with_it_unasked(tmp_path, monkeypatch):
    with train.alone_in(tmp_path):
        assert not train.began_here(tmp_path)  # without torchrun nobody starts it again
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'a')
    assert not train.began_here(tmp_path)
    with train.alone_in(tmp_path):
        assert train.began_here(tmp_path)
        monkeypatch.setattr(os, 'getppid', lambda: 1)
        assert not train.began_here(tmp_path)


def test_a_job_of_several_machines_goes_on_from_any_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'a')
    monkeypatch.setenv('GROUP_WORLD_SIZE', '2')
    assert not train.began_here(tmp_path)
    with train.alone_in(tmp_path):
        monkeypatch.setattr(train.socket, 'gethostname', lambda: 'another')
        assert train.began_here(tmp_path)
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'b')
        assert not train.began_here(tmp_path)


def test_an_unknown_option_is_refused(tmp_path, capsys):
    assert run(tmp_path / 'run', '--widht-g', 3) == 2
    assert '--widht-g' in capsys.readouterr().err


# What a run leaves


@pytest.mark.slow
def test_a_run_leaves_its_figures_pictures_and_checkpoints(data, tmp_path, capsys):
    out = tmp_path / 'run'
    assert run(out, '--data', data, '--epochs', 2, '--every', 0, '--keep', 1) == 0
    rows = history(out)
    assert [int(row['step']) for row in rows] == list(range(1, 9))
    assert all(float(row['distance']) > 0 and 0 <= float(row['recall']) <= 1 for row in rows)
    assert Image.open(out / 'samples' / 'step-00000008.png').size == (512, 512)
    assert list((out / 'tensorboard').glob('events*'))
    names = sorted(path.name for path in (out / 'checkpoints').iterdir())
    assert names == ['best.pt', 'step-00000008.pt']
    config = json.loads((out / 'config.json').read_text())
    assert (config['epochs'], config['steps'], config['width_g']) == (2, 8, 2)
    assert 'distance' in capsys.readouterr().out
    assert run(out, '--data', data) == 2  # a second run into the same folder
    assert 'holds a run. Take another folder, or go on with it: --resume' in capsys.readouterr().err
    again = tmp_path / 'again'  # the config says the same as the command line
    assert run(again, '--config', out / 'config.json') == 0
    assert farthest(weights(out), weights(again)) == 0


@pytest.mark.slow
def test_a_run_goes_on_where_it_can_and_says_where_it_cannot(data, tmp_path, capsys):
    out, whole = tmp_path / 'run', tmp_path / 'whole'
    assert run(whole, '--data', data, '--epochs', 3) == 0
    assert run(out, '--data', data, '--epochs', 3) == 0
    saved = sorted((out / 'checkpoints').glob('step-*.pt'))
    saved[-1].write_bytes(saved[-1].read_bytes()[:2000])  # damaged
    capsys.readouterr()
    assert run(out, '--resume') == 0
    assert 'Skipped:' in capsys.readouterr().out
    assert farthest(weights(out), weights(whole)) == 0
    saved[0].unlink(), saved[1].unlink()  # keep 1, and a damaged one from beyond
    saved[-1].write_bytes(b'')
    best = out / 'checkpoints' / 'best.pt'
    state = torch.load(best, weights_only=True)
    state['values'] |= {'step': 4, 'steps': 8}
    torch.save(state, best)
    assert run(out, '--resume') == 0
    assert (out / 'checkpoints' / 'step-00000008.pt').exists()
    assert run(out, '--resume', '--width-g', 3) == 2
    assert 'width_g: the run in' in capsys.readouterr().err
    for path in (out / 'checkpoints').glob('*.pt'):
        torch.save({'another': 1}, path)
    assert run(out, '--resume') == 2
    assert 'not one of d2l.save_checkpoint' in capsys.readouterr().err


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(data, tmp_path):
    out = tmp_path / 'run'
    out.mkdir()
    config = json.loads(json.dumps(train.asdict(train.Config(data=str(data), epochs=1))))
    small = dict(zip(SMALL.split()[::2], map(float, SMALL.split()[1::2]), strict=True))
    config |= {k[2:].replace('-', '_'): v if k == '--every' else int(v) for k, v in small.items()}
    (out / 'config.json').write_text(json.dumps(config))
    assert run(out, '--resume') == 0
    assert [row['step'] for row in history(out)] == ['4']


def test_minutes_are_planned_for(data, tmp_path):
    assert run(tmp_path / 'run', '--data', data, '--minutes', 0.02) == 0
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['steps'] > 1


# Parts of a batch


def test_parts_of_a_batch_overlap_nowhere_and_lose_nothing(monkeypatch):
    monkeypatch.setattr(parallel, 'world_size', lambda: 3)
    parts, shares = [], []
    for number in range(3):
        monkeypatch.setattr(parallel, 'rank', lambda number=number: number)
        parts.append(parallel.part(torch.arange(32)))
        shares.append(parallel.share(torch.arange(32)))
    assert torch.equal(torch.cat(parts), torch.arange(32))
    assert sum(shares) / 3 == pytest.approx(1)
    assert shares[0] == pytest.approx(11 * 3 / 32)


def test_a_pass_sees_each_image_once(data):
    config = train.Config(batch_size=10, width_d=2, width_g=2)
    made = train.Trainer(config, torch.zeros(64, 3, 64, 64), torch.device('cpu'))
    batches = [made.batch(step) for step in range(7)]
    assert sorted(torch.cat(batches).tolist()) == list(range(64))
    assert {len(batch) for batch in batches} == {9, 10}
    assert not torch.equal(made.batch(7), batches[0])


DESCENT = """import sys
import torch
from contextlib import nullcontext
from d2l_gan import parallel, train
train.mixed_precision = lambda device: nullcontext()  # bfloat16 would not tell 1e-4
# Adam divides by sizes that may be rounding alone; plain descent does not amplify it.
torch.optim.Adam = lambda weights, lr, **_: torch.optim.SGD(weights, lr)
"""


# Steps of plain descent, on all pictures in batches of 16; a checkpoint after each epoch of four.
DESCENDING = '--epochs', 8, '--keep', 8, '--lr', 0.001, '--width-d', 8, '--width-g', 8


@pytest.fixture(scope='module')
def descent(tmp_path_factory):
    return script(tmp_path_factory.mktemp('script'), DESCENT)


@pytest.fixture(scope='module')
def undisturbed(data, descent, tmp_path_factory):
    """A run of two processes that nothing disturbs."""
    out = tmp_path_factory.mktemp('run') / 'run'
    process = start([*TORCHRUN, descent], out, '--data', data, *DESCENDING)
    assert process.wait(120) == 0, process.communicate()[1]
    return out


@pytest.mark.slow
def test_two_processes_equal_one(data, descent, undisturbed, tmp_path):
    """That they do not where batch normalisation is not shared, chapter 3 claims."""
    process = start([sys.executable, descent], tmp_path / 'run', '--data', data, *DESCENDING)
    assert process.wait(120) == 0, process.communicate()[1]
    after_20 = [weights(out, 'step-00000020.pt') for out in (tmp_path / 'run', undisturbed)]
    assert farthest(*after_20) < 1e-4


# Faults


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(data, descent, undisturbed, tmp_path):
    out, options = tmp_path / 'run', ('--max-restarts', '1', '--monitor-interval', '0.2')
    process = start([*TORCHRUN, *options, descent], out, '--data', data, *DESCENDING)
    wait_for(lambda: list((out / 'checkpoints').glob('step-*.pt')), process)
    psutil.Process(process.pid).children()[-1].kill()
    assert process.wait(120) == 0, process.communicate()[1]
    assert farthest(weights(out), weights(undisturbed)) == 0


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_have_begun(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim, 'Adam', lambda weights, lr, **_: torch.optim.SGD(weights, lr))
    out = Path(shutil.copytree(undisturbed, tmp_path / 'run'))
    lengthen(out, 36)
    train.main(['--out', str(out), '--resume'])
    assert [row['step'] for row in history(out)] == ['32', '36']
    assert 0 < farthest(weights(out), weights(undisturbed)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize('number, before', [(signal.SIGINT, []), (signal.SIGTERM, TORCHRUN)])
def test_a_signal_leaves_a_good_checkpoint_and_a_clear_exit_code(data, tmp_path, number, before):
    out = tmp_path / 'run'
    process = start(module(*before), out, '--data', data, '--epochs', 4000)
    wait_for(lambda: list((out / 'checkpoints').glob('step-*.pt')), process)
    begin = time.monotonic()
    process.send_signal(number)
    said, errors = process.communicate(timeout=10)
    assert time.monotonic() - begin < 10
    assert f'Stopped by {number.name}. Go on with --resume.' in said
    if not before:  # torchrun has an exit code of its own
        assert process.returncode == 128 + number
    values = torch.load(max((out / 'checkpoints').glob('step-*.pt')), weights_only=True)['values']
    assert 0 < values['step'] < values['steps']


@pytest.mark.slow
def test_a_full_disk_stops_it_and_the_old_checkpoint_is_whole(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'run'
    assert run(out, '--data', data, '--epochs', 1) == 0
    before = weights(out)
    lengthen(out, 8)
    full = """import resource, sys
from d2l_gan import train
save = train.save_checkpoint
def save_checkpoint(*args, **values):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    save(*args, **values)
train.save_checkpoint = save_checkpoint
"""
    path = script(tmp_path, full)
    process = start([sys.executable, path], out, '--resume')
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, said
    assert 'are whole: make room' in said
    assert farthest(weights(out), before) == 0

    def save_checkpoint(*args, **values):
        raise RuntimeError('enforce fail')  # PyTorch's own word, where the last bytes do not fit

    monkeypatch.setattr(train, 'save_checkpoint', save_checkpoint)
    assert run(out, '--resume') == 1
    assert 'could not be written: enforce fail' in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_that_cannot_read_ends_all_with_its_error(data, tmp_path):
    blind = """import os, sys
from pathlib import Path
from d2l_gan import train
read_bytes = Path.read_bytes
def blind(path):
    if path.suffix == '.png':
        raise OSError(5, 'the shelf of process 1 is gone', str(path))
    return read_bytes(path)
if os.environ['LOCAL_RANK'] == '1':
    Path.read_bytes = blind
"""
    begin = time.monotonic()
    process = start([*TORCHRUN, script(tmp_path, blind)], tmp_path / 'run', '--data', data)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert 'the shelf of process 1 is gone' in said
    assert time.monotonic() - begin < 50


@pytest.mark.slow
def test_a_second_process_in_the_same_folder_is_refused(data, tmp_path, capsys):
    out = tmp_path / 'run'
    process = start(module(), out, '--data', data, '--epochs', 4000)
    wait_for(lambda: list((out / 'checkpoints').glob('step-*.pt')), process)
    assert run(out, '--resume') == 2
    assert 'Another process is training into' in capsys.readouterr().err
    process.kill()
    process.communicate()


# Taking the generator away

PT2 = """import sys
import torch
generator = torch.export.load('creatures.pt2').module()
images = generator(torch.load('Z.pt'))
"""
ONNX = """import sys
import onnxruntime
import numpy
noise = numpy.load('Z.npy')
generator = onnxruntime.InferenceSession('creatures.onnx')
(images,) = generator.run(None, {'noise': noise})
assert 'torch' not in sys.modules
"""
ELSEWHERE = """
import numpy
numpy.save('X.npy', images)
assert 'd2l_gan' not in sys.modules
"""


@pytest.fixture(scope='module')
def drawn(data, tmp_path_factory):
    """A finished run, and noise and images of its generator."""
    out = tmp_path_factory.mktemp('drawn') / 'run'
    assert run(out, '--data', data, '--epochs', 2) == 0
    Z = torch.randn(3, 4, 1, 1)
    return out, Z, take.trained_generator(out)[0](Z)


@pytest.mark.slow
@pytest.mark.parametrize(('code', 'kind'), [(PT2, '.pt2'), (ONNX, '.onnx')])
def test_a_generator_taken_away_draws_the_same_without_the_package(drawn, tmp_path, code, kind):
    out, Z, X = drawn
    take.main([str(out), '--to', str(tmp_path / f'creatures{kind}')])
    torch.save(Z, tmp_path / 'Z.pt')
    np.save(tmp_path / 'Z.npy', Z)
    subprocess.run([sys.executable, '-c', code + ELSEWHERE], check=True, cwd=tmp_path)
    assert np.allclose(np.load(tmp_path / 'X.npy'), X, atol=1e-5)


def test_the_weights_alone_fit_into_the_chapters_generator(drawn, tmp_path):
    out, Z, X = drawn
    take.main([str(out), '--to', str(tmp_path / 'creatures.safetensors')])
    net_G = dcgan.make_G(4, 2)
    net_G.load_state_dict(safetensors.torch.load_file(tmp_path / 'creatures.safetensors'))
    assert torch.equal(net_G.eval()(Z), X)


def test_what_cannot_be_taken_away_is_refused(drawn, tmp_path, monkeypatch):
    out, _, _ = drawn
    with pytest.raises(SystemExit, match='holds no run'):
        take.main([str(tmp_path / 'nothing'), '--to', str(tmp_path / 'a.pt2')])
    with pytest.raises(SystemExit, match='none of .pt2, .onnx, .safetensors. Did you mean .onnx'):
        take.main([str(out), '--to', str(tmp_path / 'a.onxx')])
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(SystemExit, match="safetensors.*pip install 'd2l-gan.export.'"):
        take.main([str(out), '--to', str(tmp_path / 'a.safetensors')])
    assert not list(tmp_path.iterdir())


def test_the_best_is_taken_else_the_newest_that_is_whole(drawn, tmp_path):
    whole, Z, X = drawn
    out = Path(shutil.copytree(whole, tmp_path / 'run'))
    oldest, newest = sorted((out / 'checkpoints').glob('step-*.pt'))
    oldest.write_bytes(b'')
    (out / 'checkpoints' / 'best.pt').write_bytes(b'')
    assert torch.equal(take.trained_generator(out)[0](Z), X)  # the last was the best
    newest.write_bytes(b'')
    with pytest.raises(train.Refused, match='no checkpoint to go on from'):
        take.trained_generator(out)
