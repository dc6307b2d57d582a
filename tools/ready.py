"""Is this room ready? `make ready` checks versions, browser, data, disk and memory.

It ends by timing a small training, which tells how long chapter 2 will take on this machine.
"""

import argparse
import contextlib
import importlib
import io
import os
import shutil
import sys
import time
import tomllib
import webbrowser
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EPOCH, LEAST_EPOCHS, CURE_SECONDS = 4096, 5, 120  # chapter 2's
CLASSIC_PACE, REST = 1.3, 9000  # of the cure's pace; images in whose time the rest is done


def versions(pyproject: Path) -> Iterator[tuple[bool, str]]:
    """Python, and each package that the course and its lab need, against its floor."""
    project = tomllib.loads(pyproject.read_text(encoding='utf-8'))['project']
    here = '.'.join(map(str, sys.version_info[:3]))
    yield (
        Requirement(f'python{project["requires-python"]}').specifier.contains(here),
        (f'Python {here}; {project["requires-python"]} is needed'),
    )
    needed = project['dependencies'] + project['optional-dependencies']['lab']
    for requirement in map(Requirement, needed):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield False, f'{requirement.name} is not installed. Run make setup'
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        yield fits, f'{requirement.name} {found}' + ('' if fits else f'; {requirement} is needed')
    try:
        importlib.import_module('torchvision')
        yield True, 'torch and torchvision fit together'
    except Exception as error:
        yield False, f'torchvision does not load ({error}). Install it together with torch'


def browsers() -> Iterator[tuple[bool, str]]:
    """Something that shows a page."""
    names = 'firefox', 'google-chrome', 'chromium', 'chromium-browser', 'safari', 'msedge'
    found = next(filter(None, map(shutil.which, names)), None)
    with contextlib.suppress(webbrowser.Error):
        found = found or type(webbrowser.get()).__name__
    yield found is not None, 'a browser' if found else 'no browser found: install one'


def room(folder: Path, disk: float, memory: float) -> Iterator[tuple[bool, str]]:
    """Disk and memory, in GB, against what a lesson needs."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    yield free >= disk, f'{free:.1f} GB of disk free; {disk:g} GB are needed'
    import psutil

    free = psutil.virtual_memory().available / 1e9
    yield free >= memory, f'{free:.1f} GB of memory free; chapter 2 needs {memory:g} GB'


def data(count: int) -> Iterator[tuple[bool, str]]:
    """The creatures of chapter 2, drawn or found in the cache."""
    import d2l_gan as d2l

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            folder = d2l.sprites(count)
        images = sum(1 for _ in Path(folder).rglob('*.png'))
        yield images == count, f'{images} creatures are drawn'
    except OSError as error:
        yield False, f'the creatures cannot be written ({error}). Set D2L_GAN_DATA to a free folder'


def pace(count: int) -> float:
    """Images a second, training chapter 2's cure on this machine: once to warm up, once timed."""
    import torch
    import torchvision
    from cells import defined_in

    import d2l_gan as d2l

    names = (
        'transform', 'g-block-def', 'net-g-def', 'd-block-def', 'net-d-def', 'he', 'r1', 'pair',
        'play', 'blur', 'smooth', 'free', 'start-run', 'one-epoch', 'fit', 'make-nets',
    )  # fmt: skip
    images = torchvision.datasets.ImageFolder(d2l.sprites(count))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        settings = defined_in('02_dcgan', 'sizes')
        chapter = defined_in('02_dcgan', *names, **settings, images=images, use_pokemon=False)
        pixels = torch.stack([images[i][0] for i in range(count)])
        few = d2l.load_array((pixels, torch.zeros(count)), chapter['batch_size'])
        for _ in range(2):
            start = time.perf_counter()
            chapter['fit'](*chapter['make_nets'](), few, 0.001, 1, **chapter['cure'])
    return count / (time.perf_counter() - start)


def minutes(images_per_second: float) -> float:
    """How long chapter 2 takes: the classic run, the cure, and the rest, which is in proportion.

    On the machine where it was measured, 225 images a second, the chapter took 220 s.
    """
    classic = LEAST_EPOCHS * EPOCH / (CLASSIC_PACE * images_per_second)
    cure = max(CURE_SECONDS, LEAST_EPOCHS * EPOCH / images_per_second)
    return (classic + cure + REST / images_per_second) / 60


def main() -> None:
    """Check, print a line for each, and leave with 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pyproject', type=Path, default=ROOT / 'pyproject.toml')
    parser.add_argument('--disk', type=float, default=1, metavar='GB')
    parser.add_argument('--memory', type=float, default=3, metavar='GB')
    parser.add_argument('--images', type=int, default=4096, help='how many to train on, at most')
    args = parser.parse_args()
    os.environ['TQDM_DISABLE'] = '1'
    from d2l_gan import data_folder

    missing = 0
    for checks in (
        versions(args.pyproject),
        browsers(),
        room(data_folder(), args.disk, args.memory),
        data(args.images),
    ):
        for fine, words in checks:
            missing += not fine
            print(f'{"ok" if fine else "MISSING":8} {words}', flush=True)
    if not (ROOT / '_build' / 'slides').exists():
        print('hint     no slides yet: make slides')
    if missing:
        sys.exit(f'Not ready: {missing} missing, see above.')
    speed = pace(min(args.images, 1024))
    print(f'{speed:.0f} images a second: chapter 2 takes about {minutes(speed):.0f} minutes here.')
    print('This room is ready.')


if __name__ == '__main__':
    main()
