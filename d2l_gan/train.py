"""Train chapter 2's GAN outside of the notebook, on one process or on many::

    python -m d2l_gan.train --data sprites --minutes 2 --out runs/first
    python -m d2l_gan.train --out runs/first --resume
    torchrun --nproc-per-node 2 -m d2l_gan.train --data my/pictures --epochs 40 --out runs/mine

A run's folder holds `config.json`, `history.csv`, `samples/`, `checkpoints/` and, where TensorBoard
is installed, its events. All random numbers come from the seed and the step's number, so a run that
was stopped goes on as if nothing had been, on another number of processes too (but for rounding).
"""

import argparse
import copy
import csv
import difflib
import json
import math
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import record
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from d2l_gan import parallel
from d2l_gan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from d2l_gan.dcgan import free_first_block, make_D, make_G, play, smooth_kernels, sure_cells
from d2l_gan.device import mixed_precision
from d2l_gan.distances import frechet_distance, precision_recall
from d2l_gan.download import DownloadError
from d2l_gan.drawing import as_png, mosaic
from d2l_gan.encoder import random_encoder, sprite_encoder
from d2l_gan.files import put_in_place
from d2l_gan.losses import LOSSES, Loss
from d2l_gan.pictures import NoPictures, find_pictures, read_pictures
from d2l_gan.sprites import sprite_labels
from d2l_gan.steps import blur, he_init
from d2l_gan.timing import Accumulator, Timer, progress

#: What can be left out of the cure, by name.
REMEDIES = 'r1', 'blur', 'smooth', 'free', 'average'
LOSS_NAMES = {
    'classic': 'non-saturating', 'saturating': 'saturating', 'paired': 'relativistic + R1',
}  # fmt: skip
MEASURES = 'distance', 'precision', 'recall', 'sure_cells'
MAX = torch.distributed.ReduceOp.MAX
COLUMNS = 'step', 'epoch', 'seconds', 'images_per_second', 'loss_D', 'loss_G', *MEASURES


class Refused(ValueError):
    """A run that cannot begin, or cannot go on; the message says why, and what helps."""


def option(default: Any, words: str, low: float = 0, high: float = float('inf')) -> Any:
    """A field of `Config`, with its help and its range."""
    return field(default=default, metadata={'help': words, 'low': low, 'high': high})


@dataclass(frozen=True)
class Config:
    """What a run is made of, as on the command line and in `config.json`."""

    data: str = option('sprites', 'sprites, pokemon, or a folder of pictures')
    images: int = option(4096, 'how many sprites are drawn', 64)
    minutes: float = option(2.0, 'how long it shall take here, if there are no --epochs', 0.01)
    epochs: int = option(0, 'passes over the images; 0: what --minutes allow')
    batch_size: int = option(32, 'images in a step, all processes together', 2)
    width_d: int = option(16, "D's channels next to the image; the book has 64", 1)
    width_g: int = option(16, "G's channels next to the image; the book has 64", 1)
    latent_dim: int = option(100, 'numbers in the noise', 1)
    lr: float = option(0.004, 'learning rate of both players, in the first half', 0, 1)
    loss: str = option('paired', f'one of {", ".join(LOSS_NAMES)}')
    remedies: str = option(','.join(REMEDIES), f'some of {",".join(REMEDIES)}; or none')
    gamma: float = option(0.3, "weight of the R1 penalty, the remedy 'r1'")
    sigma: float = option(3.0, "blur at the start in pixels, the remedy 'blur'")
    seed: int = option(0, 'of all random numbers')
    score_images: int = option(2048, 'how many images are judged', 8)
    every: float = option(60.0, 'seconds between two lines of figures')
    keep: int = option(3, 'how many checkpoints stay, beside the best', 1)
    deterministic: bool = option(False, 'on a GPU: the same run each time, and a slower one')

    def __post_init__(self) -> None:
        for item in fields(self):
            value, kind = getattr(self, item.name), type(item.default)
            if kind is float and type(value) is int:
                object.__setattr__(self, item.name, value := float(value))
            if type(value) is not kind:
                raise Refused(f'{item.name} must be of type {kind.__name__}; got {value!r}')
            low, high = item.metadata['low'], item.metadata['high']
            if kind in (int, float) and not low <= value <= high:
                reach = f'at least {low:g}' if high == float('inf') else f'{low:g} to {high:g}'
                raise Refused(f'{item.name} must be {reach}; got {value}')
            if value == math.inf and item.name != 'every':
                raise Refused(f'{item.name} must be finite; got {value}')
        one_of('loss', self.loss, LOSS_NAMES)
        for name in self.chosen:
            one_of('remedies', name, REMEDIES)

    @property
    def chosen(self) -> set[str]:
        """The remedies."""
        return set(filter(None, self.remedies.split(','))) - {'none'}


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse what is not allowed, and say what is nearest."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1)
        hint = f' Did you mean {near[0]}?' if near else ''
        raise Refused(f'{name}: {value!r} is none of {", ".join(allowed)}.{hint}')


class Stop:
    """Whether a signal asked the run to end: SIGTERM from a scheduler, SIGINT from the keyboard."""

    def __init__(self) -> None:
        self.signal = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number


def weighted(loss: Loss, weight: float, seen: dict[str, Tensor]) -> Loss:
    """The same loss with a weight; what each player's was is left in `seen`."""

    def of(player: str) -> Any:
        def value(real_Y: Tensor, fake_Y: Tensor) -> Tensor:
            seen[player] = getattr(loss, player)(real_Y, fake_Y) * weight
            return seen[player]

        return value

    return replace(loss, D=of('D'), G=of('G'))


def as_images(pixels: Tensor) -> Tensor:
    """Bytes as images in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def settled(net_G: nn.Module, Z: Tensor) -> nn.Module:
    """A copy of `net_G` whose batch normalisation holds statistics that were taken anew."""
    net_G = copy.deepcopy(net_G)
    update_bn(Z.split(256), net_G)
    return net_G.eval()


class Judge:
    """Real images as an encoder sees them, to hold generated ones against, as chapter 2 does."""

    def __init__(self, pixels: Tensor, labels: tuple[Tensor, Tensor] | None, config: Config):
        self.encoder = sprite_encoder(as_images(pixels), *labels) if labels else random_encoder()
        self.counts_cells = labels is not None
        order = torch.randperm(len(pixels), generator=seeded(config.seed, 3))
        chosen = parallel.part(order[: 2 * config.score_images])
        real = parallel.gathered(self.encoder.encode(as_images(pixels[chosen])))
        halvings = [
            real[torch.randperm(len(real), generator=seeded(config.seed, 4, i))].chunk(2)
            for i in range(20)
        ]
        self.floor = mean(frechet_distance(*halves) for halves in halvings)
        self.reference = halvings[0][0]

    def __call__(self, own_images: Tensor) -> dict[str, float]:
        """Distance in units of the floor, precision, recall; of sprites, the sure cells as well."""
        features = parallel.gathered(self.encoder.encode(own_images))
        distance = frechet_distance(self.reference, features) / self.floor
        scores = (distance, *precision_recall(self.reference, features))
        cells = (sure_cells(self.encoder, features),) if self.counts_cells else ()
        return dict(zip(MEASURES, scores + cells, strict=False))


def seeded(*numbers: int) -> torch.Generator:
    """Random numbers that depend on these numbers alone."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(mixed)


class Trainer:
    """Both networks, their optimisers and the average, on this process's part of each batch."""

    def __init__(self, config: Config, pixels: Tensor, device: torch.device):
        self.config, self.pixels, self.device = config, pixels, device
        self.step = self.steps = 0
        torch.manual_seed(config.seed)
        net_D, net_G = make_D(config.width_d), make_G(config.latent_dim, config.width_g)
        for net in (net_D, net_G):
            he_init(net)
        if 'free' in config.chosen:
            free_first_block(net_D)
        if 'smooth' in config.chosen:
            smooth_kernels(net_G)
        for net in (net_D, net_G):
            parallel.share_batch_norm(net)
            net.to(device).to(memory_format=torch.channels_last)
        average = get_ema_multi_avg_fn(0.5 ** (1 / 100))
        mean_G = AveragedModel(net_G, multi_avg_fn=average, use_buffers=True).eval()
        self.drawer: nn.Module = mean_G if 'average' in config.chosen else net_G
        adams = [
            torch.optim.Adam(net.parameters(), config.lr, betas=(0.5, 0.999), fused=True)
            for net in (net_D, net_G)
        ]
        self.parts: dict[str, Any] = {'net_D': net_D, 'net_G': net_G, 'mean_G': mean_G}
        self.parts |= {'trainer_D': adams[0], 'trainer_G': adams[1]}
        if device.type == 'cuda' and not config.deterministic and has_compiler():
            # What is compiled has no second derivative, and R1 needs D's.
            for net in (net_G,) if 'r1' in config.chosen else (net_D, net_G):
                net.compile()
        self.both = parallel.together(net_D), parallel.together(net_G)

    @property
    def per_epoch(self) -> int:
        """Steps in a pass over the images."""
        return -(-len(self.pixels) // self.config.batch_size)

    def batch(self, step: int) -> Tensor:
        """Which images a step sees, on all processes together: each image once in a pass."""
        epoch, place = divmod(step, self.per_epoch)
        order = torch.randperm(len(self.pixels), generator=seeded(self.config.seed, 1, epoch))
        return order.tensor_split(self.per_epoch)[place]

    def noise(self, kind: int, step: int, count: int) -> Tensor:
        """Noise for all processes together, of which each takes its part."""
        shape = count, self.config.latent_dim, 1, 1
        return torch.randn(shape, generator=seeded(self.config.seed, kind, step))

    def one_step(self) -> tuple[Tensor, Tensor]:
        """Play one step of the game on this process's part; its part of both losses."""
        config, device, done = self.config, self.device, self.step / max(self.steps, 1)
        adams = self.parts['trainer_D'], self.parts['trainer_G']
        for adam in adams:
            adam.param_groups[0]['lr'] = config.lr * min(1, 2 - 2 * done)
        coarse = config.sigma * (1 - done / 0.6) if 'blur' in config.chosen else 0
        penalty = 4 * config.gamma if 'r1' in config.chosen and self.step % 4 == 0 else 0
        chosen = self.batch(self.step)
        weight = parallel.share(chosen)
        X = as_images(self.pixels[parallel.part(chosen).to(self.pixels.device)].to(device))
        X = X.contiguous(memory_format=torch.channels_last)
        Z = parallel.part(self.noise(2, self.step, len(chosen))).to(device)
        net_D, net_G = self.both
        with mixed_precision(device):
            fake_X = net_G(Z).float()
        X, fake_X = blur(X, coarse), blur(fake_X, coarse)
        seen: dict[str, Tensor] = {}
        loss = weighted(LOSSES[LOSS_NAMES[config.loss]], weight, seen)
        with mixed_precision(device):
            play(X, fake_X, net_D, net_G, *adams, loss, weight * penalty)
        self.parts['mean_G'].update_parameters(self.parts['net_G'])
        self.step += 1
        return seen['D'].detach(), seen['G'].detach()

    @torch.no_grad()
    def draw(self, kind: int, count: int) -> Tensor:
        """This process's part of `count` images (n, 3, 64, 64); the same noise each time."""
        net_G = settled(self.drawer, parallel.part(self.noise(5, 0, 2048)).to(self.device))
        Z = parallel.part(self.noise(kind, 0, count)).to(self.device)
        return torch.cat([net_G(part).float().cpu() for part in Z.split(256)])

    def plan(self) -> None:
        """Settle how many steps there will be: the epochs', or those that fit into the minutes."""
        if self.config.epochs:
            self.steps = self.config.epochs * self.per_epoch
            return
        trial = Trainer(self.config, self.pixels, self.device)
        trial.steps = 10**6
        timer = Timer(self.device)
        for _ in range(24):
            timer.start()
            trial.one_step()
            timer.stop()
        seconds = mean(timer.times[8:])
        (slowest,) = parallel.over_all([seconds], self.device, MAX)
        self.steps = max(round(60 * self.config.minutes / slowest), 1)


def has_compiler() -> bool:
    """Whether `torch.compile` finds what it needs: Triton, and a compiler of C."""
    return bool(find_spec('triton') and (shutil.which('gcc') or shutil.which('cc')))


class Run:
    """The folder of a run. Process 0 alone writes into it."""

    def __init__(self, folder: Path):
        self.folder, self.best, self.seconds = folder, float('inf'), 0.0
        self.board: Any = None

    def begin(self, config: Config, trainer: Trainer) -> None:
        """Write what the run is, keep the figures up to where it goes on, open TensorBoard."""
        values = asdict(config) | {'steps': trainer.steps}
        with put_in_place(self.folder / 'config.json') as new:
            new.write_text(json.dumps(values, indent=2) + '\n', encoding='utf-8')
        path, kept = self.folder / 'history.csv', []
        if path.exists():
            with open(path, newline='', encoding='utf-8') as file:
                kept = [row for row in csv.DictReader(file) if int(row['step']) <= trainer.step]
        with put_in_place(path) as new, open(new, 'w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.folder / 'tensorboard'))

    def add(self, row: dict[str, Any], pictures: Tensor, trainer: Trainer) -> None:
        """Add a row to `history.csv`, a grid to `samples`; keep the run if it is the best yet."""
        with open(self.folder / 'history.csv', 'a', newline='', encoding='utf-8') as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        grid = self.folder / 'samples' / f'step-{row["step"]:08d}.png'
        with put_in_place(grid) as new:
            new.write_bytes(as_png(mosaic(pictures, 8)))
        for name in ('loss_D', 'loss_G', *MEASURES) if self.board else ():
            if row.get(name) is not None:
                self.board.add_scalar(name, row[name], row['step'])
        if row['distance'] < self.best:
            self.best = row['distance']
            self.save(trainer, 'best.pt')

    def save(self, trainer: Trainer, name: str = '') -> None:
        """Write a checkpoint, then drop those beyond the last `keep`; the best stays."""
        folder = self.folder / 'checkpoints'
        path = folder / (name or f'step-{trainer.step:08d}.pt')
        values = {'step': trainer.step, 'steps': trainer.steps, 'best': self.best}
        try:
            save_checkpoint(path, trainer.parts, **values, seconds=self.seconds)
        except RuntimeError as error:  # PyTorch's word for a disk that is full
            raise OSError(f'{path} could not be written: {error}') from None
        last = f'step-{trainer.step:08d}.pt'  # what is beyond it could not be read
        for old in sorted(p for p in folder.glob('step-*.pt') if p.name <= last)[
            : -trainer.config.keep
        ]:
            old.unlink()

    def saved(self) -> list[Path]:
        """The checkpoints, the newest first, the best at the end."""
        return sorted((self.folder / 'checkpoints').glob('*.pt'), reverse=True)

    def resume(self, trainer: Trainer) -> None:
        """Bring the trainer to the newest checkpoint that is whole."""
        values = first_whole(self.saved(), trainer)
        trainer.step, trainer.steps = values['step'], values['steps']
        self.best, self.seconds = values['best'], values['seconds']


def first_whole(paths: Sequence[Path], trainer: Trainer) -> dict[str, Any]:
    """Bring the trainer to the first checkpoint that is whole; return the values beside it."""
    troubles = []
    for path in paths:
        try:
            values = load_checkpoint(path, trainer.parts)
        except CheckpointError as error:
            troubles.append(str(error))
            continue
        for trouble in troubles if parallel.rank() == 0 else ():
            print(f'Skipped: {trouble}', flush=True)
        return values
    advice = 'Begin anew, in another folder or without --resume.'
    raise Refused(f'There is no checkpoint to go on from. {" ".join(troubles) or advice}')


def starter() -> str:
    """Who starts this process, and starts it again: its `torchrun`, or the job of several machines.

    Empty without `torchrun`. The count of restarts would not tell: where a machine has left and
    come back, it stays.
    """
    job = os.environ.get('TORCHELASTIC_RUN_ID', '')
    one_machine = os.environ.get('GROUP_WORLD_SIZE', '1') == '1'
    return job and (f'{socket.gethostname()} {os.getppid()}' if one_machine else f'job {job}')


def began_here(folder: Path) -> bool:
    """Whether who starts this process has begun the run in this folder, and starts it again."""
    lock = folder / '.lock'
    return starter() != '' and lock.exists() and lock.read_text() == starter()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder: another run that asks for it meanwhile is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.lock', 'a') as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows has none
            pass
        except OSError:
            raise Refused(f'Another process is training into {folder}.') from None
        lock.truncate(0)
        lock.write(starter())
        lock.flush()
        yield


def read_data(config: Config) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """All pictures as bytes, read by all processes together; the sprites' labels."""
    paths = find_pictures(config.data, config.images)
    first, last = (
        len(paths) * i // parallel.world_size() for i in (parallel.rank(), parallel.rank() + 1)
    )
    own, broken = read_pictures(paths[first:last])
    pixels = parallel.gathered(own)
    for path in broken:
        print(f'No picture: {path}', flush=True)
    (number,) = parallel.over_all([len(broken)], pixels.device)
    if number and parallel.rank() == 0:
        print(f'{number:.0f} of {len(paths)} files are no pictures', flush=True)
    least = max(config.batch_size, 16)
    if len(pixels) < least:
        raise NoPictures(
            f'data: {len(pixels)} pictures in {config.data}; at least {least} are needed'
        )
    if config.data != 'sprites':
        return pixels, None
    kinds, hues = map(torch.as_tensor, sprite_labels(paths))
    return pixels, (kinds, hues)


def measure(trainer: Trainer, judge: Judge, sums: Accumulator) -> tuple[dict[str, float], Tensor]:
    """Mean losses since the last line, the judge's scores, and 64 images, over all processes."""
    scores = judge(trainer.draw(6, trainer.config.score_images))
    losses = parallel.over_all([sums[0], sums[1]], trainer.device)
    loss_D, loss_G = (total / sums[2] / parallel.world_size() for total in losses)
    grid = parallel.gathered(trainer.draw(7, 64))
    return {'loss_D': loss_D, 'loss_G': loss_G} | scores, grid


def train(config: Config, run: Run, device: torch.device, resume: bool) -> int:
    """Train to the end, or to the signal that stops it; return the signal's number, or 0."""
    writes = parallel.rank() == 0
    pixels, labels = read_data(config)
    trainer = Trainer(config, pixels.to(device) if device.type == 'cuda' else pixels, device)
    judge = Judge(pixels, labels, config)
    if resume:
        run.resume(trainer)
    else:
        trainer.plan()
    if writes:
        run.begin(config, trainer)
        print(f'{len(pixels)} images, {trainer.steps} steps to {run.folder}', flush=True)
    in_a_step = len(pixels) / trainer.per_epoch
    bar = progress(
        total=round(trainer.steps * in_a_step), initial=round(trainer.step * in_a_step),
        unit='img', unit_scale=True, disable=not writes or 'TQDM_DISABLE' in os.environ,
    )  # fmt: skip
    stop = Stop()  # not before: as long as nothing is trained, a signal may end it at once
    last = time.monotonic()
    start, begun, sums = last - run.seconds, trainer.step, Accumulator(3)
    while trainer.step < trainer.steps:
        sums.add(*trainer.one_step(), 1)
        bar.update(in_a_step)
        over, now = trainer.step == trainer.steps, time.monotonic()
        run.seconds = now - start
        due = over or now - last >= config.every
        here = torch.device('cpu')  # no GPU waits for it
        asked = parallel.over_all([stop.signal, due], here, MAX)
        number, due_anywhere = map(int, asked)
        if number and not over:
            if writes:
                run.save(trainer)
            return number
        if due_anywhere:
            figures, grid = measure(trainer, judge, sums)
            if writes:
                rate = (trainer.step - begun) * in_a_step / (now - last)
                row = {'step': trainer.step, 'epoch': trainer.step / trainer.per_epoch}
                row |= {'seconds': run.seconds, 'images_per_second': rate} | figures
                bar.clear()
                print('  '.join(f'{name} {value:.4g}' for name, value in row.items()), flush=True)
                run.add(row, grid, trainer)
            last, begun, sums = time.monotonic(), trainer.step, Accumulator(3)
        if writes and (over or trainer.step % trainer.per_epoch == 0):
            run.save(trainer)
    bar.close()
    if run.board:
        run.board.close()
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line: an option for each field of `Config`."""
    made = argparse.ArgumentParser(
        'python -m d2l_gan.train', description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument('--out', type=Path, required=True, metavar='RUN', help="the run's folder")
    made.add_argument('--resume', action='store_true', help='go on where the run was stopped')
    made.add_argument('--config', type=Path, metavar='FILE', help='options, as in config.json')
    for item in fields(Config):
        name, words = '--' + item.name.replace('_', '-'), item.metadata['help']
        if isinstance(item.default, bool):
            made.add_argument(name, action='store_true', default=argparse.SUPPRESS, help=words)
        else:
            made.add_argument(
                name, type=type(item.default), default=argparse.SUPPRESS,
                help=f'{words} (default: {item.default})',
            )  # fmt: skip
    return made


def read_config(path: Path) -> dict[str, Any]:
    """The options in a file of JSON; Refused where there are others, or none."""
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise Refused(f'{path} cannot be read as JSON: {error}') from None
    if not isinstance(values, dict):
        raise Refused(f'{path} holds no options, but a {type(values).__name__}')
    values.pop('steps', None)
    for name in values:
        one_of(f'{path}', name, [item.name for item in fields(Config)])
    return values


def settle(args: argparse.Namespace, restarted: bool) -> tuple[Config, bool]:
    """The run's options, and whether it goes on; Refused where they cannot be.

    A process that torchrun has started again goes on with what it began, without `--resume`.
    """
    given = {k: v for k, v in vars(args).items() if k not in ('out', 'resume', 'config')}
    if args.config:
        given = read_config(args.config) | given
    known = args.out / 'config.json'
    if not known.exists():
        if args.resume:
            raise Refused(f'{args.out} holds no run to go on with: there is no config.json in it')
        return shared_by_all(Config(**given)), False
    if not args.resume and not restarted:
        raise Refused(f'{args.out} holds a run. Take another folder, or go on with it: --resume')
    before = read_config(known)
    for name, value in given.items():
        if before.get(name) != value:
            raise Refused(f'{name}: the run in {args.out} has {before.get(name)!r}, not {value!r}')
    return shared_by_all(Config(**before)), any((args.out / 'checkpoints').glob('*.pt'))


def shared_by_all(config: Config) -> Config:
    """The options, or Refused where there is not enough for each process."""
    for name in ('batch_size', 'score_images'):
        if getattr(config, name) < 2 * parallel.world_size():
            number = parallel.world_size()
            raise Refused(f'{name} must be at least {2 * number}, for {number} processes')
    return config


@record
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, train; exit with 128 + the signal that ended it, 2 if refused."""
    args = parser().parse_args(arguments)
    device = parallel.own_device()
    if device.type == 'cuda':
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        with parallel.group(device):
            leads = parallel.rank() == 0
            ours = args.resume or (leads and began_here(args.out))  # on any machine
            (goes_on,) = parallel.over_all([ours], device, MAX)
            config, resume = settle(args, bool(goes_on))
            parallel.wait()  # until all have looked, before one begins to write
            if config.deterministic:
                os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
                torch.use_deterministic_algorithms(True)
            with alone_in(args.out) if leads else nullcontext():
                number = train(config, Run(args.out), device, resume)
    except KeyboardInterrupt:
        fail('stopped before it began', 128 + signal.SIGINT)
    except (Refused, NoPictures, DownloadError) as error:
        fail(str(error), 2)
    except OSError as error:
        words = f'{error}.'
        if any((args.out / 'checkpoints').glob('*.pt')):
            cure = 'make room, or mend it, then go on with --resume'
            words += f' The checkpoints in {args.out} are whole: {cure}'
        fail(words, 1)
    if number:
        print(f'Stopped by {signal.Signals(number).name}. Go on with --resume.', flush=True)
        sys.exit(128 + number)


def fail(words: str, code: int) -> NoReturn:
    """Say it on the terminal, and end with this exit code."""
    print(f'd2l_gan.train: {words}', file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == '__main__':
    main()
