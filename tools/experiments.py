"""What chapter 2 cannot run in its own minutes: which remedy brings what, and what patience buys.

`ladder` trains every row of the chapter's table with three seeds, `patience` the last recipe for
longer and longer. Both write a CSV file, a line as soon as it is known, with machine, date and
versions in each; the notebook reads and draws it. `--tiny` runs everything on next to nothing.

    python tools/experiments.py ladder patience --to notebooks/results

What every row of the ladder shares: the images seen, the batches, both networks' widths, Adam, the
schedule of the learning rate, and how it is judged: batch normalisation with statistics taken
anew from 2,048 noise vectors. The learning rate is each row's own best of RATES, by the distance
that seed 0 reaches; all that was tried stands in the file, with `chosen` yes or no.
"""

import argparse
import copy
import csv
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import torch
import torchvision
from cells import defined_in
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.optim.swa_utils import update_bn

import d2l_gan as d2l

RATES = 0.001, 0.004
LATENT = 100
BATCH = 32
WIDTHS = {'n_D': 16, 'n_G': 32}
PAIRED = d2l.LOSSES['relativistic + R1']
FULL = {'loss': PAIRED, 'gamma': 0.3, 'sigma': 3.0}  # the three remedies that change the game


# Starts and changes of the networks ---------------------------------------------------------------


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


class Smooth(nn.Module):
    """A 4 x 4 kernel out of a 3 x 3 one: the sum of its four copies, each moved by a pixel."""

    def forward(self, W3: Tensor) -> Tensor:
        taller = F.pad(W3, (0, 0, 0, 1)) + F.pad(W3, (0, 0, 1, 0))
        return F.pad(taller, (0, 1, 0, 0)) + F.pad(taller, (1, 0, 0, 0))

    def right_inverse(self, W4: Tensor) -> Tensor:
        """Where training starts: nine of the sixteen numbers, at He's scale for nine terms."""
        return W4[..., :3, :3] * 2 / 3


def smooth_kernels(net_G: nn.Module) -> None:
    """Let every transposed convolution of stride 2 double by nearest neighbour, then convolve."""
    for layer in net_G.modules():
        if isinstance(layer, nn.ConvTranspose2d) and layer.stride == (2, 2):
            parametrize.register_parametrization(layer, 'weight', Smooth())


def free_first_block(net_D: nn.Module) -> None:
    """Take batch normalisation out of D's first block, as the DCGAN paper has it."""
    block, old = net_D[0], net_D[0].conv2d
    block.batch_norm = nn.Identity()
    block.conv2d = nn.Conv2d(3, old.out_channels, old.kernel_size, old.stride, old.padding)
    block.conv2d.weight.data = old.weight.data
    nn.init.zeros_(block.conv2d.bias)  # batch normalisation had a shift; the convolution gets one


# The rows: the name says what is new against the row above ----------------------------------------

Row = tuple[str, str, bool, bool, dict]  # name, start, smooth kernels, free first block, for `fit`
ROWS: list[Row] = [
    ("classic, the book's start", 'book', False, False, {}),
    ("classic, the tutorial's start", 'tutorial', False, False, {}),
    ('+ He start', 'he', False, False, {}),
    ('+ R1', 'he', False, False, {'gamma': 0.3}),
    ('+ pairing', 'he', False, False, {'gamma': 0.3, 'loss': PAIRED}),
    ('+ coarse to fine', 'he', False, False, FULL),
    ('+ smooth kernels', 'he', True, False, FULL),
    ("+ D's first block free", 'he', True, True, FULL),
]
AVERAGED = '+ averaged weights'  # of the run before it, so that nothing else can differ
CONTROLS = [(f'{name}, full budget', *rest) for name, *rest in ROWS[:2]]


class Chapter:
    """Chapter 2's cells, its images, and a judge of generators."""

    def __init__(self, tiny: bool):
        self.widths = {'n_D': 4, 'n_G': 4} if tiny else WIDTHS
        self.noise = 256 if tiny else 2048
        self.device = d2l.try_gpu()
        self.names = defined_in(
            '02_dcgan', 'g-block-def', 'net-g-def', 'd-block-def', 'net-d-def', 'he', 'r1', 'pair',
            'play', 'blur', 'fit', latent_dim=LATENT, device=self.device, **self.widths,
        )  # fmt: skip
        self.starts = {'book': book_start, 'tutorial': tutorial_start, 'he': self.names['he_init']}
        count = 320 if tiny else 4096
        self.batches, kinds, hues = self.images(count, seed=0)
        self.encoder = d2l.sprite_encoder(self.batches[:].cpu(), kinds, hues)
        unseen, _, _ = self.images(count // 4, seed=1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.real = self.encoder.encode(self.batches[:].cpu())
            halves = [self.real[torch.randperm(count)].chunk(2) for _ in range(20)]
        self.floor = sum(d2l.frechet_distance(*pair) for pair in halves) / len(halves)
        self.reference = halves[0][0]
        self.unseen = self.encoder.encode(unseen[:].cpu())

    def images(self, count: int, seed: int):
        """Drawn creatures in batches, and their kinds and hues."""
        prepare = torchvision.transforms.Compose(
            [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(0.5, 0.5)]
        )
        folder = d2l.data_folder() / f'experiments-{count}-{seed}'
        images = torchvision.datasets.ImageFolder(d2l.sprites(count, seed, folder), prepare)
        loader = torch.utils.data.DataLoader(images, 256)
        kinds, hues = map(torch.as_tensor, d2l.sprite_labels(images.samples))
        return d2l.InMemory(loader, BATCH, self.device), kinds, hues

    def train(self, row: Row, seed: int, lr: float, num_epochs: int):
        """G and its average after a run of this row, and the seconds that it took."""
        _, start, smooth, free, settings = row
        d2l.seed_everything(seed)
        net_D, net_G = copy.deepcopy((self.names['net_D'], self.names['net_G']))
        for net in (net_D, net_G):
            self.starts[start](net)
        if smooth:
            smooth_kernels(net_G)
        if free:
            free_first_block(net_D)
        begin = time.perf_counter()
        mean_G, _ = self.names['fit'](net_D, net_G, self.batches, lr, num_epochs, **settings)
        return net_G, mean_G, time.perf_counter() - begin

    @torch.no_grad()
    def judge(self, net_G: nn.Module) -> dict[str, float]:
        """How far the images that `net_G` draws are from the real ones; the same noise each time.

        `cells` counts only images of which the encoder is sure, `copies` compares with real images
        that nobody was trained on: see `sure_cells` and `copying`.
        """
        generator = torch.Generator().manual_seed(0)
        Z = torch.randn(2 * self.noise, LATENT, 1, 1, generator=generator).to(self.device)
        net_G = copy.deepcopy(net_G)
        update_bn(Z[: self.noise].split(256), net_G)
        net_G.eval()
        fake = self.encoder.encode(torch.cat([net_G(z).cpu() for z in Z[self.noise :].split(256)]))
        precision, recall = d2l.precision_recall(self.reference, fake)
        return {
            'distance': d2l.frechet_distance(self.reference, fake) / self.floor,
            'sure cells': sure_cells(self.encoder, fake)[0],
            'sure share': sure_cells(self.encoder, fake)[1],
            'precision': precision,
            'recall': recall,
            'copies': copying(self.real, self.unseen, fake),
        }


# Measures -----------------------------------------------------------------------------------------


def sure_cells(
    encoder: nn.Module, features: Tensor, sure: float = 0.9, at_least: int = 10
) -> tuple[int, float]:
    """Cells with `at_least` images of which the encoder is sure, and the share of such images.

    Sure: it gives at least the probability `sure` to one kind, and to one hue. An encoder that
    must name something names a blob, too.
    """
    heads = (encoder.kind(features), encoder.hue(features))
    certain = torch.stack([head.softmax(1).amax(1) >= sure for head in heads]).all(0)
    cells = encoder.cells(features)[certain]
    return d2l.coverage(cells, at_least=at_least), certain.double().mean().item()


def copying(training: Tensor, unseen: Tensor, fake: Tensor, k: int = 3) -> float:
    """How often a fake lies nearer to a training image than an unseen real image does.

    About 0.5 without copying, up to 1 with it (after Meehan et al., 2020), in features; of both
    sets only what lies within the training images' reach, since a poor image is near to nothing.
    NaN where too few do.
    """
    radius = torch.cdist(training, training).kthvalue(k + 1, dim=1).values

    def to_nearest(features):
        distance = torch.cdist(features, training)
        return distance.amin(1)[(distance <= radius).any(1)]

    ours, theirs = to_nearest(fake), to_nearest(unseen)
    if min(len(ours), len(theirs)) < 10:
        return float('nan')
    return (ours[:, None] < theirs).double().mean().item()


# The two experiments ------------------------------------------------------------------------------


def ladder(chapter: Chapter, folder: Path, tiny: bool) -> Iterator[dict]:
    """Each row at each rate with seed 0, then at its best one with the other seeds."""
    few, full, seeds = (1, 1, (0, 1)) if tiny else (5, 11, (0, 1, 2))
    rows = [*((row, few) for row in ROWS), *((row, full) for row in CONTROLS)]
    for row, num_epochs in rows:
        best: tuple[float, float] | None = None
        lines = []
        for lr in RATES:
            lines.append(list(result(chapter, row, 0, lr, num_epochs)))
            # by the row itself; a run that fell to NaN cannot be best
            reached = lines[-1][0]['distance']
            if reached == reached and (best is None or reached < best[0]):
                best = reached, lr
        chosen = best[1] if best else RATES[0]
        for line in (line for pair in lines for line in pair):
            yield line | {'chosen': 'yes' if line['lr'] == chosen else 'no'}
        for seed in seeds[1:]:
            for line in result(chapter, row, seed, chosen, num_epochs):
                yield line | {'chosen': 'yes'}


def result(
    chapter: Chapter, row: Row, seed: int, lr: float, num_epochs: int
) -> Iterator[dict[str, object]]:
    """The lines of one run: the row's, and after the last remedy its average's."""
    net_G, mean_G, seconds = chapter.train(row, seed, lr, num_epochs)
    about = {
        'seed': seed,
        'images': num_epochs * len(chapter.batches.pixels),
        'lr': lr,
        'seconds': round(seconds, 1),
    }
    yield {'row': row[0]} | about | chapter.judge(net_G)
    if row == ROWS[-1]:
        yield {'row': AVERAGED} | about | chapter.judge(mean_G.module)


def patience(chapter: Chapter, folder: Path, tiny: bool) -> Iterator[dict]:
    """The whole recipe for 1 to 30 minutes, averaged; five seeds at 2 minutes, a picture each."""
    _, _, seconds = chapter.train(ROWS[-1], 0, RATES[-1], 1)  # how long an epoch takes here
    runs = [(1, 0), *((2, seed) for seed in range(5)), (5, 0), (10, 0), (30, 0)]
    for minutes, seed in runs[:2] if tiny else runs:
        num_epochs = 1 if tiny else max(round(60 * minutes / seconds), 1)
        _, mean_G, seconds_taken = chapter.train(ROWS[-1], seed, RATES[-1], num_epochs)
        if seed == 0:
            draw(mean_G.eval(), folder / f'patience-{minutes:02d}-minutes.png', chapter.device)
        images = num_epochs * len(chapter.batches.pixels)
        yield {
            'minutes': minutes,
            'seed': seed,
            'images': images,
            'lr': RATES[-1],
            'seconds': round(seconds_taken, 1),
        } | chapter.judge(mean_G.module)


def draw(net_G: nn.Module, file: Path, device: torch.device, rows: int = 3, columns: int = 6):
    """Store a grid of what `net_G` draws, 128 pixels a creature, always from the same noise."""
    Z = torch.randn(rows * columns, LATENT, 1, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        X = net_G(Z.to(device)).cpu() / 2 + 0.5
    grid = torchvision.utils.make_grid(X.clamp(0, 1), columns, pad_value=1)
    picture = torchvision.transforms.functional.to_pil_image(grid)
    picture.resize((2 * picture.width, 2 * picture.height), 0).quantize(128).save(file)


EXPERIMENTS: dict[str, Callable[[Chapter, Path, bool], Iterator[dict]]] = {
    'ladder': ladder,
    'patience': patience,
}


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
            writer = writer or csv.DictWriter(out, list(line), lineterminator='\n')
            if not out.tell():
                writer.writeheader()
            writer.writerow(line)
            out.flush()
            print(*line.values(), sep=', ', flush=True)


def main() -> None:
    """Parse the command line, run what it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='|'.join(EXPERIMENTS), help='default: all')
    parser.add_argument('--to', type=Path, default=Path('_build'), help='folder of the files')
    parser.add_argument('--tiny', action='store_true')
    args = parser.parse_args()
    if unknown := set(args.names) - set(EXPERIMENTS):
        parser.error(f'no such experiment: {", ".join(sorted(unknown))}')
    args.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if args.tiny:
            os.environ['D2L_GAN_DATA'] = folder
        chapter = Chapter(args.tiny)
        for name in args.names or EXPERIMENTS:
            write(EXPERIMENTS[name](chapter, args.to, args.tiny), args.to / f'{name}.csv')


if __name__ == '__main__':
    main()
