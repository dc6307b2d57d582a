"""Collect the course in one folder for a room without a network: `make stick`.

Wheels for this machine's Python and system, the drawn creatures, chapters and exercises without
their solutions, the slides, and a script that installs and starts it all. What is downloaded stays,
so a second call goes on where the first was stopped.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import d2l_gan as d2l

ROOT = Path(__file__).parents[1]
README = """GANs, run and measured: the course on a stick, for Python {python}

Linux, macOS:  python3 start.py
Windows:       py start.py

It needs no network. The first start installs for some minutes, later ones take seconds. The
notebooks are copied to the folder gan-course in your home and opened there. Slides: the folder
slides; open a file with any browser.
"""


def wheels(folder: Path, extra: list[str], everything: bool) -> None:
    """The project's own wheel, and all that it needs."""
    pip = [sys.executable, '-m', 'pip']
    for old in folder.glob('d2l_gan-*.whl'):
        old.unlink()
    subprocess.run([*pip, 'wheel', '--quiet', '--no-deps', '-w', folder, ROOT], check=True)
    if everything:
        (own,) = folder.glob('d2l_gan-*.whl')
        download = [*pip, 'download', '--dest', folder, '--find-links', folder, *extra]
        subprocess.run([*download, f'{own}[lab]'], check=True)


def main() -> None:
    """Parse the command line, collect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', type=Path, default=ROOT / '_build' / 'stick', metavar='FOLDER')
    parser.add_argument('--cpu', action='store_true', help='PyTorch without GPU libraries (Linux)')
    parser.add_argument('--own', action='store_true', help='no wheel but the course itself')
    parser.add_argument('--images', type=int, default=4096)
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    cpu = ['--extra-index-url', 'https://download.pytorch.org/whl/cpu'] if args.cpu else []
    wheels(args.to / 'wheels', cpu, not args.own)
    data = Path(d2l.sprites(args.images))
    shutil.copytree(data, args.to / 'data' / data.name, dirs_exist_ok=True)
    for name in ('*.ipynb', 'img/*', 'exercises/*.ipynb'):
        for file in (ROOT / 'notebooks').glob(name):
            to = args.to / 'notebooks' / file.relative_to(ROOT / 'notebooks')
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
    slides = [sys.executable, ROOT / 'tools' / 'slides.py', '--to', args.to / 'slides']
    subprocess.run(slides, check=True)
    shutil.copyfile(ROOT / 'tools' / 'start.py', args.to / 'start.py')
    here = '{}.{}'.format(*sys.version_info)
    (args.to / 'python.txt').write_text(here)
    (args.to / 'README.txt').write_text(README.format(python=here))
    size = sum(file.stat().st_size for file in args.to.rglob('*') if file.is_file())
    print(f'{args.to}: {size / 1e9:.2f} GB. Copy the folder to a stick; README.txt says the rest.')


if __name__ == '__main__':
    main()
