"""`make bench-gpu`: chapter 2's game at the book's size on a GPU, the textbook's way and ours.

The table comes last, in Markdown, with card and date. It also runs on a CPU, where some rows have
nothing to say; `--tiny` shows that it is alive, its figures mean nothing.
"""

import argparse
import contextlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from unittest import mock

import torch

import d2l_gan as d2l
from d2l_gan import train
from d2l_gan.pictures import find_pictures
from d2l_gan.sprites import sprite_labels

sys.path.insert(0, str(Path(__file__).parent))
import bench  # noqa: E402
import textbook  # noqa: E402

Row = tuple[str, ...]


def plain(device: torch.device) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def bfloat16(device: torch.device) -> contextlib.AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


PRECISIONS = {'float32 (TF32 where there is)': plain, 'bfloat16': bfloat16}


def seconds(device: torch.device, work: Callable) -> float:
    timer = d2l.Timer(device)
    work()
    return timer.stop()


def made(pixels: torch.Tensor, device: torch.device, steps: int, **config) -> train.Trainer:
    """A trainer of the whole cure that plans so many steps, its data on the device."""
    trainer = train.Trainer(train.Config(**config), pixels.to(device), device)
    trainer.steps = steps
    return trainer


def paces(pixels, folder, device, sizes, tiny) -> Iterator[Row]:
    """Images a second over whole epochs: loader, transfer and optimisers included."""
    width, batch_size, repeats = sizes['width_d'], sizes['batch_size'], 1 if tiny else 3
    loader = bench.loader_of(folder, batch_size, d2l.get_dataloader_workers())
    slowest = None
    for name, precision in PRECISIONS.items():

        def book(precision=precision):
            nets = bench.image_nets(width, width)[1:]
            with precision(device):
                textbook.train(*nets, loader, 1, (2e-4, 2e-4), (100, 1, 1), (0.5, 0.999), device)

        with mock.patch.object(train, 'mixed_precision', precision):
            trainer = made(pixels, device, 10**6, **sizes)
            for _ in range(8):
                trainer.one_step()  # compiles, where there is a compiler

            def ours(trainer=trainer):
                for _ in range(trainer.per_epoch):
                    trainer.one_step()

            for what, epoch in (("the textbook's loop", book), ('ours', ours)):
                runs = [len(pixels) / seconds(device, epoch) for _ in range(repeats)]
                pace = statistics.median(runs)
                slowest = slowest or pace
                spread = f'{min(runs):,.0f} to {max(runs):,.0f}'
                yield f'{what}, {name}', f'{pace:,.0f} images/s', spread, f'{pace / slowest:.1f} x'
    yield 'ours: the GPU is busy', busy(trainer, ours, device), '', ''


def busy(trainer: train.Trainer, epoch: Callable, device: torch.device) -> str:
    """Which share of an epoch's time kernels run."""
    if device.type != 'cuda':
        return 'no GPU'
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        whole = seconds(device, epoch)
    kernels = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    return f'{kernels / whole:.0%}'


def goals(pixels, labels, device, sizes, limit) -> Iterator[Row]:
    """Seconds of training to all 32 cells, and to a distance of four times the floor."""
    judge = train.Judge(pixels, labels, train.Config(**sizes))
    trial = made(pixels, device, 2, **sizes)
    trial.one_step()  # compiles as well
    pace = seconds(device, trial.one_step)
    trainer = made(pixels, device, max(round(limit / pace), 1), **sizes)
    spent, reached = 0.0, {}
    while trainer.step < trainer.steps and len(reached) < 2:
        start = time.perf_counter()
        for _ in range(min(trainer.per_epoch, trainer.steps - trainer.step)):
            trainer.one_step()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        spent += time.perf_counter() - start
        scores = judge(trainer.draw(6, trainer.config.score_images))
        for name, there in (
            ('all 32 sure cells', scores['sure_cells'] == 32),
            ('4 x the floor', scores['distance'] <= 4),
        ):
            if there:
                reached.setdefault(name, spent)
    for name in ('all 32 sure cells', '4 x the floor'):
        found = f'{reached[name]:.0f} s' if name in reached else f'not within {spent:.0f} s'
        yield f'training to {name}', found, '', ''


def memory(pixels, device, sizes, batches) -> Iterator[Row]:
    """The most memory that a step of each batch takes."""
    for batch_size in batches if device.type == 'cuda' else ():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        trainer = made(pixels, device, 10, **sizes | {'batch_size': batch_size})
        trainer.one_step()
        most = torch.cuda.max_memory_allocated(device) / 2**30
        yield f'memory, batch {batch_size}', f'{most:.2f} GiB', '', ''


def main() -> None:
    """Parse the command line, time, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=4, help='at most, towards the two goals')
    parser.add_argument('--tiny', action='store_true')
    args = parser.parse_args()
    device = d2l.try_gpu()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    count, sizes = 4096, {'width_d': 64, 'width_g': 64, 'batch_size': 256, 'lr': 0.001}
    if args.tiny:
        count, sizes = 64, {'width_d': 2, 'width_g': 2, 'batch_size': 32, 'score_images': 16}
    folder = d2l.sprites(count)
    paths = find_pictures('sprites', count)
    pixels, _ = train.read_pictures(paths)
    labels = tuple(map(torch.as_tensor, sprite_labels(paths)))
    limit = 1 if args.tiny else 60 * args.minutes
    rows = [
        *paces(pixels, folder, device, sizes, args.tiny),
        *goals(pixels, labels, device, sizes, limit),
        *memory(pixels, device, sizes, (64, 256, 1024)),
    ]
    card = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.processor()
    print(f'{card or device}, torch {torch.__version__}, {date.today()}, {sizes}\n')
    print('| what | median | spread | against the first row |\n|---|---|---|---|')
    for row in rows:
        print('|', ' | '.join(row), '|')


if __name__ == '__main__':
    main()
