"""`make bench`: the course's code against the textbook's way, side by side in one run.

Each row times both, in turns, and prints the medians and their ratio. `--tiny` runs everything
once on next to nothing: it shows that the benchmark is alive, its figures mean nothing.
"""

import argparse
import contextlib
import cProfile
import json
import os
import platform
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from io import StringIO
from pathlib import Path

import torch
import torchvision
from torch import nn

import d2l_gan as d2l
from d2l_gan.targets import GAUSSIAN

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import textbook  # noqa: E402
from cells import defined_in  # noqa: E402

Row = tuple[str, str, str, str, str]  # what, textbook, course, ratio, to reach


def in_turns(*calls: Callable[[], float], repeats: int) -> list[float]:
    """The median of what each call returns, the calls made alternately."""
    return [
        statistics.median(results)
        for results in zip(*([call() for call in calls] for _ in range(repeats)), strict=True)
    ]


def row(what: str, slow: float, fast: float, unit: str, to_reach: str, faster_is='more') -> Row:
    ratio = fast / slow if faster_is == 'more' else slow / fast
    digits = 1 if min(slow, fast) < 100 else 0
    return (
        what,
        f'{slow:,.{digits}f} {unit}',
        f'{fast:,.{digits}f} {unit}',
        f'{ratio:.2f} x',
        to_reach,
    )


PROFILES: list[str] = []  # printed below the table: where the time of a row goes


def profile_of(what: str, call: Callable, lines: int = 8) -> None:
    """Note the functions in which `call` spends most of its time, and their shares of it."""
    profile = cProfile.Profile()
    profile.runcall(call)
    stats = pstats.Stats(profile)
    times = sorted(
        ((own, calls, name) for (_, _, name), (_, calls, own, _, _) in stats.stats.items()),
        reverse=True,
    )
    total = sum(own for own, _, _ in times)
    PROFILES.append(f'{what}: own time of the functions that take most of it')
    for own, calls, name in times[:lines]:
        each = 1e6 * own / calls
        PROFILES.append(f'  {own / total:4.0%}  {calls:7,} calls of {each:6.1f} us  {name}')


FRAMES = """
import sys, time
sys.path[:0] = [{here!r}, {parent!r}]
import torch
import d2l_gan as d2l, textbook
from cells import defined_in
names = defined_in('01_basic_gan', 'show-points')
data, net_G = torch.randn(1000, 2), torch.nn.Linear(2, 2)

def frame_times(animator, num_frames):
    times = []
    for epoch in range(1, num_frames + 1):
        animator._next_frame = 0.0  # every frame, none left out
        start = time.perf_counter()
        names['show_points'](animator.axes[1], data, net_G, 2)
        animator.add(epoch, (0.7, 0.6 + 0.01 * epoch))
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[len(times[1:]) // 2]

legend = ['discriminator', 'generator']
slow = frame_times(textbook.Animator([1, {frames}], legend), {frames})
fast = frame_times(
    d2l.Animator('epoch', 'loss', legend, xlim=[1, {frames}], nrows=2, figsize=(5, 5)), {frames}
)
"""


def frames(tiny: bool) -> Iterator[Row]:
    """A drawn frame, in a real kernel."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name='python3')

    def run(code):
        reply = client.execute_interactive(
            code, store_history=False, output_hook=lambda message: None, timeout=300,
            user_expressions={'times': '[slow, fast]'},
        )['content']  # fmt: skip
        if reply['status'] != 'ok':
            raise RuntimeError('\n'.join(reply['traceback']))
        return eval(reply['user_expressions']['times']['data']['text/plain'])

    try:
        code = FRAMES.format(here=str(HERE), parent=str(HERE.parent), frames=3 if tiny else 20)
        runs = [run(code) for _ in range(1 if tiny else 5)]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    slow, fast = (1000 * statistics.median(times) for times in zip(*runs, strict=True))
    yield row('a drawn frame of chapter 1, real kernel', slow, fast, 'ms', '15 ms', 'less')


def small_nets() -> tuple[nn.Module, nn.Module]:
    net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    return net_D, nn.Sequential(nn.Linear(2, 2))


def printed_by(call: Callable, *args) -> str:
    """Call it, and return what it would have printed."""
    printed = StringIO()
    with contextlib.redirect_stdout(printed):
        call(*args)
    return printed.getvalue()


def silently_defined(*ids: str, **names) -> dict:
    """The names that these cells of chapter 1 define; `names` are given, and nothing is printed."""
    with contextlib.redirect_stdout(StringIO()):
        return defined_in('01_basic_gan', *ids, **names)


def points(tiny: bool) -> Iterator[Row]:
    """Chapter 1: one GAN, then 64 at once."""
    names = silently_defined('data-draw', 'update-D', 'update-G', 'show-points', 'train')
    data, epochs = torch.randn(200 if tiny else 1000, 2) @ names['A'] + names['b'], 1 if tiny else 4
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data), batch_size=8, shuffle=True
    )
    iterator = d2l.load_array((data,), 8)

    def slow():
        start = time.perf_counter()
        textbook.train(*small_nets(), loader, epochs, (0.05, 0.005), (2,), (0.9, 0.999))
        return epochs * len(data) / (time.perf_counter() - start)

    def fast():
        printed = printed_by(names['train'], *small_nets(), iterator, epochs, 0.05, 0.005, 2, data)
        return float(re.search(r'([0-9.]+) examples/sec', printed)[1])  # drawing left out

    def many():
        start = time.perf_counter()
        more['train_many']((2, 5, 3, 1))
        return more['num_gans'] * more['num_epochs'] * 1000 / (time.perf_counter() - start)

    more = silently_defined(
        'data-draw', 'stack', 'many-data', 'play', 'many-step', 'many-loop', target=GAUSSIAN[1],
        num_epochs=1 if tiny else 20, batch_size=8, lr_D=0.05, lr_G=0.005,
    )  # fmt: skip
    one, ours, all_64 = in_turns(slow, fast, many, repeats=1 if tiny else 5)
    yield row('chapter 1, batch 8', one, ours, 'examples/s', '1.5 x')
    yield row('64 GANs at once, batch 8, in total', one, all_64, 'examples/s', '100 x')
    profile_of('chapter 1, batch 8', fast)
    profile_of('64 GANs at once, batch 8', many)


def image_nets(n_D: int, n_G: int) -> tuple[dict, nn.Module, nn.Module]:
    """Chapter 2's cells, and its two networks at these widths."""
    names = defined_in(
        '02_dcgan', 'g-block-def', 'net-g-def', 'd-block-def', 'net-d-def', 'he', 'r1', 'pair',
        'play', 'blur', 'smooth', 'free', 'start-run', 'one-epoch', 'fit', 'make-nets',
        latent_dim=100, n_D=n_D, n_G=n_G, device=d2l.try_gpu(),
    )  # fmt: skip
    return names, names['net_D'], names['net_G']


def loader_of(folder: str, batch_size: int, workers: int) -> torch.utils.data.DataLoader:
    """The textbook's loader: decodes and resizes every image in every epoch."""
    to_tensor = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize((64, 64)),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(0.5, 0.5),
        ]
    )
    images = torchvision.datasets.ImageFolder(folder, to_tensor)
    return torch.utils.data.DataLoader(images, batch_size, shuffle=True, num_workers=workers)


def matrix_rates(size: int = 2048, repeats: int = 5) -> tuple[float, float]:
    """Floating-point operations per second of a float32 matrix product here.

    As such, and written as a convolution of 1 x 1: on CPUs two libraries do it, MKL and oneDNN.
    """
    A = torch.randn(size, size, device=d2l.try_gpu())
    X = A.reshape(1, size, size, 1).contiguous(memory_format=torch.channels_last)
    W = A.reshape(size, size, 1, 1)

    def seconds(product):
        timer = d2l.Timer()
        product()
        return timer.stop()

    products = (lambda: A @ A), (lambda: torch.conv2d(X, W))
    in_turns(*(lambda p=p: seconds(p) for p in products), repeats=1)
    medians = in_turns(*(lambda p=p: seconds(p) for p in products), repeats=repeats)
    return tuple(2 * size**3 / median for median in medians)


def operations(net_D: nn.Module, net_G: nn.Module) -> float:
    """Floating-point operations per image that a step of both players cannot do without.

    Of one forward pass each: D is passed forward by the real, the fake and in G's step once more;
    its own step goes back to weights and inputs (the first layer's inputs left out), G's step
    through all of D's inputs; G goes forward once and back to weights and inputs.
    """
    from torch.utils.flop_counter import FlopCounterMode

    def count(call):
        with FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops()

    device = next(net_D.parameters()).device
    Z, X = torch.randn(2, 100, 1, 1, device=device), torch.randn(2, 3, 64, 64, device=device)
    weights_D, weights_G = list(net_D.parameters()), list(net_G.parameters())
    own = count(lambda: net_D(X).sum().backward(inputs=weights_D))
    through = count(lambda: net_D(net_G(Z)).sum().backward(inputs=weights_G))
    return (2 * own + through) / len(X)


@contextlib.contextmanager
def precision(autocast: Callable) -> Iterator[None]:
    """Within it, `autocast` stands in for the package's `mixed_precision`."""
    before, d2l.mixed_precision = d2l.mixed_precision, autocast
    try:
        yield
    finally:
        d2l.mixed_precision = before


def float32(device: torch.device) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def images(tiny: bool) -> Iterator[Row]:
    """Chapter 2: images per second over whole epochs, loader included."""
    device = d2l.try_gpu()
    for n, count, batch_size, to_reach in ((64, 128, 32, '1.4 x'), (16, 1024, 64, '2 x')):
        if tiny:
            n, count, batch_size = 4, 64, 16
        folder = d2l.sprites(count)
        names, net_D, net_G = image_nets(n, n)
        loader = loader_of(folder, batch_size, d2l.get_dataloader_workers())
        batches = d2l.InMemory(loader, batch_size, device)

        def slow(names=names, loader=loader, count=count):
            nets = names['make_nets']()
            start = time.perf_counter()
            textbook.train(*nets, loader, 1, (2e-4, 2e-4), (100, 1, 1), (0.5, 0.999), device)
            return count / (time.perf_counter() - start)

        def fast(names=names, batches=batches, count=count):
            nets = names['make_nets']()
            timer = d2l.Timer(device)
            names['fit'](*nets, batches, 2e-4, 1)
            return count / timer.stop()

        def plain(names=names, fast=fast):
            with precision(float32):
                return fast()

        book, ours, unmixed = in_turns(slow, fast, plain, repeats=1 if tiny else 5)
        yield row(f'chapter 2, n = {n}, batch {batch_size}', book, ours, 'images/s', to_reach)
        yield row('  the same in float32 throughout', book, unmixed, 'images/s', '')
        if n == 64 or tiny:
            rate = unmixed * operations(net_D, net_G)
            product, convolution = matrix_rates(256 if tiny else 2048)
            yield '  its share of the matrix rate', '', f'{rate / product:.0%}', '', '80 %'
            yield '  of that as a 1 x 1 convolution', '', f'{rate / convolution:.0%}', '', ''


def decoding(tiny: bool) -> Iterator[Row]:
    """The first pass over the files, and every pass after it."""
    count = 64 if tiny else 4096
    loader = loader_of(d2l.sprites(count), 256, d2l.get_dataloader_workers())

    def slow():
        start = time.perf_counter()
        for _ in loader:
            pass
        return count / (time.perf_counter() - start)

    def fast():
        start = time.perf_counter()
        d2l.InMemory(loader, 64)
        return count / (time.perf_counter() - start)

    batches = d2l.InMemory(loader, 64)

    def later():
        start = time.perf_counter()
        for _ in batches:
            pass
        return count / (time.perf_counter() - start)

    book, first, again = in_turns(slow, fast, later, repeats=1 if tiny else 5)
    yield row(f'first pass over {count:,} PNGs', book, first, 'images/s', '1 x')
    yield row('every later pass', book, again, 'images/s', '')


def growth(tiny: bool) -> Iterator[Row]:
    """How time and memory grow with the images, the batch and the width, one at a time."""
    base = (1000, 64, 16)
    series = {
        'images': [(images, *base[1:]) for images in (1000, 10_000, 40_000)],
        'batch': [(1000, batch, 16) for batch in (16, 64, 256, 512)],
        'n': [(1000, 64, n) for n in (8, 16, 32, 64, 128)],
    }
    if tiny:
        series = {'images': [(32, 16, 4)]}
    for name, sizes in series.items():
        first = None
        for images, batch, n in sizes:
            command = [sys.executable, str(HERE / 'growth.py'), images, batch, n, d2l.try_gpu()]
            done = subprocess.run(
                [str(part) for part in command], capture_output=True, text=True, check=True
            )
            ms, memory, work = json.loads(done.stdout.splitlines()[-1])
            first = first or ms / work
            yield (
                f'growing {name}: {images:,} images, batch {batch}, n = {n}', '',
                f'{ms:.2f} ms/image, {memory:,.0f} MB', f'{ms / work / first:.2f} x per operation',
                'about 1 x, or less',
            )  # fmt: skip


def gpu(tiny: bool) -> Iterator[Row]:
    """Chapter 2 at the book's size on a CUDA GPU; `tiny` tries the same lines on any device."""
    device = d2l.try_gpu()
    if device.type != 'cuda' and not tiny:
        yield 'chapter 2 on a GPU, 40,597 images', 'not measured', 'not measured', '', '10 x, 50 x'
        return
    n, count, batch_size = (4, 64, 16) if tiny else (64, 40_597, 256)
    names, net_D, net_G = image_nets(n, n)
    loader = loader_of(d2l.sprites(count), batch_size, d2l.get_dataloader_workers())
    batches = d2l.InMemory(loader, batch_size, device)

    def slow():
        timer = d2l.Timer(device)
        nets = names['make_nets']()
        textbook.train(*nets, loader, 1, (2e-4, 2e-4), (100, 1, 1), (0.5, 0.999), device)
        return count / timer.stop()

    def course(autocast, compiled):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        nets = names['make_nets']()
        if compiled and not tiny:
            for net in nets:
                net.compile()
            names['fit'](*nets, batches, 2e-4, 1)  # compiles
        with precision(autocast):
            timer = d2l.Timer(device)
            names['fit'](*nets, batches, 2e-4, 1)
            return count / timer.stop()

    def tf32():
        return course(float32, compiled=False)

    def mixed():
        return course(d2l.mixed_precision, compiled=True)

    book, ours, fastest = in_turns(slow, tf32, mixed, repeats=1 if tiny else 5)
    yield row(f'chapter 2 on {device.type}, {count:,} images, TF32', book, ours, 'images/s', '10 x')
    yield row('  mixed precision, compiled', book, fastest, 'images/s', '50 x')
    activity = torch.profiler.ProfilerActivity
    kinds = [activity.CUDA] if device.type == 'cuda' else [activity.CPU]
    timer = d2l.Timer(device)
    with torch.profiler.profile(activities=kinds) as profile:
        mixed()
    seconds = timer.stop()
    events = profile.key_averages()
    busy = sum(getattr(event, 'self_device_time_total', 0) for event in events) / 1e6
    yield '  its share of the time that the GPU is busy', '', f'{busy / seconds:.0%}', '', '90 %'


def imports(tiny: bool) -> Iterator[Row]:
    """What `import d2l_gan` adds to torch and matplotlib."""
    code = (
        'import torch, matplotlib.pyplot, time; t = time.perf_counter(); '
        'import d2l_gan; print(time.perf_counter() - t)'
    )

    def seconds():
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, check=True)
        return float(done.stdout)

    (median,) = in_turns(seconds, repeats=1 if tiny else 5)
    yield 'import d2l_gan, beyond torch and matplotlib', '', f'{median:.2f} s', '', '0.3 s'


def tests(tiny: bool) -> Iterator[Row]:
    """The whole of `make test`, once; its slowest tests are printed below the table."""
    which = ['--collect-only', 'tests/test_timing.py'] if tiny else []
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '--durations=12', *which],
        cwd=HERE.parents[1], capture_output=True, text=True,
    )  # fmt: skip
    minutes = (time.perf_counter() - start) / 60
    lines = done.stdout.splitlines()
    slowest = [line for line in lines if re.match(r'[0-9.]+s (call|setup|teardown)', line)]
    PROFILES.extend([f'make test: {lines[-1]}', *slowest])
    yield 'make test, set up before', '', f'{minutes:.1f} min', '', '10 min'


ROWS = {
    'frames': frames,
    'points': points,
    'images': images,
    'decoding': decoding,
    'growth': growth,
    'gpu': gpu,
    'imports': imports,
    'tests': tests,
}


def machine() -> str:
    """In a few words, what was measured on."""
    device = d2l.try_gpu()
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    product, convolution = (rate / 1e9 for rate in matrix_rates(1024))
    return (
        f'{os.cpu_count()} cores, {platform.machine()}, float32 matrix product {product:.0f} '
        f'GFLOP/s, as a 1 x 1 convolution {convolution:.0f}'
    )


def main() -> None:
    """Parse the command line, measure, print the table last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('rows', nargs='*', choices=[*ROWS, []], metavar='|'.join(ROWS))
    parser.add_argument('--tiny', action='store_true')
    args = parser.parse_args()
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        if args.tiny:
            os.environ['D2L_GAN_DATA'] = folder
        for name in args.rows or ROWS:
            for line in ROWS[name](args.tiny):
                print('...', *line, flush=True)
                table.append(line)
    print(f'\n{machine()}; PyTorch {torch.__version__}; {date.today()}\n')
    print('| what | textbook | here | ratio | to reach |\n|---|---|---|---|---|')
    for line in table:
        print(f'| {" | ".join(line)} |')
    print('', *PROFILES, sep='\n')


if __name__ == '__main__':
    main()
