"""What the chapters cannot run in their own minutes: which remedy brings what, what patience buys,
and what a larger batch does to the game.

`ladder` trains every row of the chapter's table with three seeds, `patience` the last recipe for
longer and longer. Both write a CSV file, a line as soon as it is known, with machine, date and
versions in each, and a picture; the notebook reads them. `--tiny` runs it on next to nothing.

    python tools/experiments.py ladder patience

What every row of the ladder shares: the images seen, as many as the cure sees in two minutes; the
batches, the networks' widths, Adam, the schedule of the learning rate, and the chapter's own
`score`. The learning rate is each row's own best of RATES, by the distance that seed 0 reaches; all
that was tried stands in the file, with `chosen` yes or no.

On two cores two processes of one thread each are faster than one of two: run `ladder` and
`patience` side by side with OMP_NUM_THREADS=1, and with `--pace`, the images a second that
`python tools/experiments.py pace` measures on the machine alone.
"""

import argparse
import contextlib
import csv
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from cells import defined_in
from torch import nn

import d2l_gan as d2l
from d2l_gan.train import MEASURES, REMEDIES

RESULTS = Path(d2l.__file__).parent / 'results'
RATES = 0.001, 0.004  # the chapter's two
PAPERS_RATE = 0.0002  # for the classic rows, too: they shall have every chance
MINUTES = 2  # the chapter's
CELLS = (
    'transform', 'g-block-def', 'net-g-def', 'd-block-def', 'net-d-def', 'generate', 'memory',
    'encoder', 'floor', 'sure-cells', 'score', 'he', 'r1', 'pair', 'play', 'blur', 'smooth', 'free',
    'start-run', 'one-epoch', 'fit', 'make-nets', 'copying',
)  # fmt: skip


def book_start(net: nn.Module) -> None:
    """Every weight from N(0, 0.02), batch normalisation's scale included."""
    for weight in net.parameters():
        nn.init.normal_(weight, 0, 0.02)


def tutorial_start(net: nn.Module) -> None:
    """Weights from N(0, 0.02), batch normalisation's scale from N(1, 0.02) and its shift 0."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0, 0.02)


STARTS = {'book': book_start, 'tutorial': tutorial_start}  # in place of the chapter's


class Row(NamedTuple):
    """A recipe; its name says what is new against the row above."""

    name: str
    start: str = 'he'
    smooth: bool = False
    free: bool = False
    loss: str = 'non-saturating'
    gamma: float = 0.0
    sigma: float = 0.0
    averaged: bool = False


PAIRED = 'relativistic + R1'
ROWS = [
    Row("classic, the book's start", 'book'),
    Row("classic, the tutorial's start", 'tutorial'),
    Row('+ He start'),
    Row('+ R1', gamma=0.3),
    Row('+ pairing', gamma=0.3, loss=PAIRED),
    Row('+ coarse to fine', gamma=0.3, loss=PAIRED, sigma=3.0),
    Row('+ smooth kernels', smooth=True, gamma=0.3, loss=PAIRED, sigma=3.0),
    Row("+ D's first block free", smooth=True, free=True, gamma=0.3, loss=PAIRED, sigma=3.0),
    Row('+ averaged weights', 'he', True, True, PAIRED, 0.3, 3.0, averaged=True),
]
CURE = ROWS[-1]


class Chapter:
    """Chapter 2's cells, its images, and a judge of generators."""

    def __init__(self, tiny: bool):
        settings = defined_in('02_dcgan', 'sizes')
        if tiny:
            settings |= {'n_D': 4, 'n_G': 4}
        count = 128 if tiny else 4096
        images = torchvision.datasets.ImageFolder(d2l.sprites(count))
        self.names = defined_in('02_dcgan', *CELLS, **settings, images=images, use_pokemon=False)
        if tiny:
            few = self.names['update_bn']
            self.names['update_bn'] = lambda noise, net_G: few(noise[:1], net_G)
        unseen = torchvision.datasets.ImageFolder(d2l.sprites(count // 4, seed=1))
        unseen.transform = images.transform
        encode = self.names['encoder'].encode
        self.unseen = encode(torch.stack([image for image, _ in unseen]))
        self.batches, self.rate = self.names['batches'], settings['cure_lr']
        self.count = 64 if tiny else 2048
        self.training = encode(self.batches[:].cpu())
        self.runs: dict[tuple, tuple[nn.Module, nn.Module, float]] = {}

    def train(self, row: Row, seed: int, lr: float, num_epochs: int) -> tuple[nn.Module, float]:
        """The generator of this row's recipe, and the seconds that it took.

        A row and its average are two sets of weights of one run, so that nothing else can differ.
        """
        key = row._replace(name='', averaged=False), seed, lr, num_epochs
        if key not in self.runs:
            d2l.seed_everything(seed)
            nets = self.names['make_nets'](row.smooth, row.free)
            for net in nets if row.start in STARTS else ():
                STARTS[row.start](net)
            settings = d2l.LOSSES[row.loss], row.gamma, row.sigma
            begin = time.perf_counter()
            mean_G, _ = self.names['fit'](*nets, self.batches, lr, num_epochs, *settings)
            self.runs[key] = nets[1], mean_G, time.perf_counter() - begin
        net_G, mean_G, seconds = self.runs[key]
        return mean_G if row.averaged else net_G, seconds

    def judge(self, net_G: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """The chapter's columns and eight images, of the same noise each time."""
        with torch.random.fork_rng():
            torch.manual_seed(1)
            images = self.names['generate'](self.names['settled'](net_G), self.count)
        features = self.names['encoder'].encode(images)
        columns = 'distance', 'sure cells', 'precision', 'recall'
        if not features.isfinite().all():  # the run has fallen to NaN
            return dict.fromkeys((*columns, 'copies'), float('nan')), images[:8]
        scores = dict(zip(columns, self.names['compare'](features), strict=True))
        copies, _ = self.names['copying'](self.training, self.unseen, features)
        return scores | {'copies': copies}, images[:8]


def ladder(chapter: Chapter, folder: Path, tiny: bool, pace: float | None) -> Iterator[dict]:
    """Each row at each rate with seed 0, then at its best one with the other seeds."""
    num_epochs = epochs(chapter, MINUTES, tiny, pace)
    pictures: dict[str, torch.Tensor] = {}
    for row in ROWS:

        def result(seed, lr, row=row):
            net_G, seconds = chapter.train(row, seed, lr, num_epochs)
            scores, images = chapter.judge(net_G)
            seen = num_epochs * len(chapter.batches.pixels)
            about = {'row': row.name, 'seed': seed, 'images': seen, 'lr': lr}
            return about | {'seconds': seconds} | scores, images

        rates = RATES if row.start == 'he' else (PAPERS_RATE, *RATES)
        tried = [result(0, lr) for lr in rates]
        # a run that fell to NaN cannot be best
        best, images = min(
            tried, key=lambda t: (t[0]['distance'] != t[0]['distance'], t[0]['distance'])
        )
        for line, _ in tried:
            yield line | {'chosen': 'yes' if line is best else 'no'}
        pictures[row.name] = images
        d2l.rows_of_images(pictures).save(folder / 'ladder.png', optimize=True)
        for seed in range(1, 2 if tiny else 3):
            yield result(seed, best['lr'])[0] | {'chosen': 'yes'}


def patience(chapter: Chapter, folder: Path, tiny: bool, pace: float | None) -> Iterator[dict]:
    """The whole cure for 1 to 30 minutes; five seeds at the chapter's, a picture of each length."""
    pace = pace or images_per_second(chapter)
    pictures: dict[str, torch.Tensor] = {}
    for minutes in (1, 2) if tiny else (1, 2, 5, 10, 30):
        for seed in range(2 if tiny else 5) if minutes == MINUTES else [0]:
            num_epochs = epochs(chapter, minutes, tiny, pace)
            net_G, seconds = chapter.train(CURE, seed, chapter.rate, num_epochs)
            scores, images = chapter.judge(net_G)
            pictures.setdefault(f'{minutes} min', images)
            d2l.rows_of_images(pictures).save(folder / 'patience.png', optimize=True)
            seen = num_epochs * len(chapter.batches.pixels)
            about = {'minutes': minutes, 'seed': seed, 'images': seen, 'images/s': pace}
            yield about | {'lr': chapter.rate, 'seconds': seconds} | scores


def epochs(chapter: Chapter, minutes: float, tiny: bool, pace: float | None) -> int:
    """How many of them fit into so much time; one in a tiny run."""
    seconds = len(chapter.batches.pixels) / (pace or images_per_second(chapter))
    return 1 if tiny else max(round(60 * minutes / seconds), 1)


def images_per_second(chapter: Chapter) -> float:
    """How fast this machine trains the whole cure: an epoch to warm up, then one."""
    _, seconds = [chapter.train(CURE, seed, chapter.rate, 1) for seed in (0, 1)][-1]
    return len(chapter.batches.pixels) / seconds


def pace(chapter: Chapter, folder: Path, tiny: bool, pace: float | None) -> Iterator[dict]:
    """How fast this machine trains the whole cure, alone."""
    yield {'threads': torch.get_num_threads(), 'images/s': images_per_second(chapter)}


def batch(chapter: Chapter, folder: Path, tiny: bool, pace: float | None) -> Iterator[dict]:
    """The command, the same images in larger batches; at one rate, and at one that grows with them.

    Without the averaged weights: a memory of 100 steps is not the same in 256 steps and in 1,024.
    Two runs of one thread each go side by side.
    """
    epochs, seeds = (1, 1) if tiny else (8, 3)
    rows = [
        (size, lr, seed)
        for size in ((64,) if tiny else (32, 64, 128))
        for lr in dict.fromkeys((0.004, round(0.004 * (size / 32) ** 0.5, 5)))
        for seed in range(seeds)
    ]
    remedies = ','.join(name for name in REMEDIES if name != 'average')
    common = ['--epochs', epochs, '--remedies', remedies, '--every', 10**6]
    common += (
        ['--images', 128, '--width-d', 2, '--width-g', 2, '--score-images', 16] if tiny else []
    )

    def result(row):
        size, lr, seed = row
        with tempfile.TemporaryDirectory() as run:
            line = [sys.executable, '-m', 'd2l_gan.train', '--out', run, *common]
            line += ['--batch-size', size, '--lr', lr, '--seed', seed]
            few = os.environ | {'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'}
            subprocess.run(map(str, line), check=True, env=few, stdout=subprocess.DEVNULL)
            with open(Path(run) / 'history.csv', encoding='utf-8') as file:
                (end,) = csv.DictReader(file)
        scores = {name: float(end[name]) for name in ('seconds', *MEASURES)}
        seen = epochs * (128 if tiny else 4096)
        return {
            'batch': size,
            'lr': lr,
            'seed': seed,
            'images': seen,
            'steps': end['step'],
        } | scores

    with ThreadPool(2) as pool:
        yield from pool.imap(result, rows)


EXPERIMENTS = {'ladder': ladder, 'patience': patience, 'pace': pace, 'batch': batch}


def made_on() -> dict[str, object]:
    """Where and with what a line was made."""
    return {
        'machine': f'{os.cpu_count()} cores, {platform.machine()}, {d2l.try_gpu().type}',
        'date': date.today().isoformat(),
        'python': platform.python_version(),
        'torch': torch.__version__,
    }


def write(lines: Iterator[dict], file: Path) -> None:
    """Write dicts as CSV, each as soon as it comes: a run that is stopped leaves what it knows."""
    with file.open('w', newline='', encoding='utf-8') as out:
        writer = None
        for line in lines:
            line = {k: format(v, '.4g') if isinstance(v, float) else v for k, v in line.items()}
            line |= made_on()
            if writer is None:
                writer = csv.DictWriter(out, list(line), lineterminator='\n')
                writer.writeheader()
            writer.writerow(line)
            out.flush()
            print(*line.values(), sep=', ', flush=True)


def main() -> None:
    """Parse the command line, run what it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='+', choices=EXPERIMENTS)
    parser.add_argument('--to', type=Path, default=RESULTS, metavar='FOLDER')
    parser.add_argument('--pace', type=float, metavar='IMAGES', help='images a second, measured')
    parser.add_argument('--tiny', action='store_true')
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if args.tiny:
            os.environ['D2L_GAN_DATA'] = folder
        with contextlib.redirect_stdout(io.StringIO()):  # the cells' own words
            chapter = Chapter(args.tiny)
        for name in args.names:
            file = args.to / f'{name}.csv'
            write(EXPERIMENTS[name](chapter, args.to, args.tiny, args.pace), file)


if __name__ == '__main__':
    main()
