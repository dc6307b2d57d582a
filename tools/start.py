"""Start the course from this stick: a private Python environment, then JupyterLab. No network.

    python3 start.py             (Windows: py start.py)
    python3 start.py --check     install, and only say whether the course can be imported

The environment and a copy of the notebooks go into the folder `gan-course` in your home, or into
the one that --to names. What you changed in an earlier copy stays as it is.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

STICK = Path(__file__).resolve().parent


def copy_new(source: Path, target: Path) -> None:
    """Copy a folder's files that are not yet there: a student's own are never overwritten."""
    for file in source.rglob('*'):
        to = target / file.relative_to(source)
        if file.is_file() and not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


def main() -> None:
    """Install once, copy, start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', type=Path, default=Path.home() / 'gan-course', metavar='FOLDER')
    parser.add_argument('--package', default='d2l-gan[lab]', help=argparse.SUPPRESS)
    parser.add_argument('--check', action='store_true')
    args = parser.parse_args()
    made_for = (STICK / 'python.txt').read_text().strip()
    here = '{}.{}'.format(*sys.version_info)
    if here != made_for:
        sys.exit(
            f'This stick was made for Python {made_for}; this is {here}. Start it with that one.'
        )
    home = args.to / 'env'
    python = home / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    if not (home / 'ready').exists():
        print(f'Installing into {home}: some minutes, once.', flush=True)
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), '-m', 'pip', 'install', '--quiet', '--no-index', '--find-links']
        if subprocess.call([*pip, str(STICK / 'wheels'), args.package]):
            sys.exit('A wheel is missing for this machine: make the stick on one of the same kind.')
        (home / 'ready').touch()
    copy_new(STICK / 'notebooks', args.to / 'notebooks')
    copy_new(STICK / 'data', args.to / 'data')
    env = {**os.environ, 'D2L_GAN_DATA': str(args.to / 'data')}
    env.setdefault('GOMP_SPINCOUNT', '1000')
    lab = ['-m', 'jupyterlab', f'--ServerApp.root_dir={args.to / "notebooks"}']
    check = ['-c', 'import d2l_gan; print("The course is installed.")']
    command = [str(python), *(check if args.check else lab)]
    sys.exit(subprocess.call(command, env=env, cwd=args.to))


if __name__ == '__main__':
    main()
