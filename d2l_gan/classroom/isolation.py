"""What keeps a student's process from the rest of the machine, and how it is started."""

import itertools
import json
import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import matplotlib

HOME = '/submission'  # the folder that a closed process may write to
PACKAGE = Path(__file__).parents[1]
SYSTEM = [
    *('/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix/store'),
    *('/etc/ld.so.cache', '/etc/alternatives', '/etc/fonts', '/etc/localtime', '/etc/passwd'),
    *('/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom'),
    '/sys/devices/system/cpu',  # from which libraries know the processor
]
PASSED_ON = [
    *('PATH', 'LANG', 'LC_ALL', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'GOMP_SPINCOUNT'),
    *('SYSTEMROOT', 'COMSPEC', 'PATHEXT', 'WINDIR', 'LOCALAPPDATA'),
]
_numbers = itertools.count(os.getpid() * 1000)
CLOSED = 'closed: no network, no other files'


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    cell, total : seconds for one cell or call, and for all of them
    memory : bytes of all its processes together
    printed : bytes that a cell may print, and that a file may hold
    processes : how many at a time
    restarts : how often a process that had to be ended is started again
    """

    cell: float = 20.0
    total: float = 120.0
    memory: int = 4 * 2**30
    printed: int = 2**26
    processes: int = 32
    restarts: int = 2


@dataclass(frozen=True)
class Isolation:
    """How students' processes are kept apart.

    Attributes
    ----------
    closed : whether in namespaces of Linux
    words : what is kept from them, for the marks
    hide : files and folders that they must not see, should they lie in what Python needs
    """

    closed: bool
    words: str
    hide: Sequence[Path] = field(default=())

    def start(self, limits: Limits, folder: Path, module: str) -> subprocess.Popen:
        """Start `python -m module`; requests go to its stdin, prints to `log` in the folder."""
        command = [sys.executable, '-m', module]
        home = HOME if self.closed else str(folder / 'home')
        for name in ('root', 'home'):
            (folder / name).mkdir()
        if os.name == 'posix':
            plan = json.dumps(self._plan(limits, folder, home, command))
            script = str(Path(__file__).with_name('sandbox.py'))
            command = [sys.executable, '-I', '-S', script, plan]
        with open(folder / 'log', 'ab') as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(home),
                cwd=folder / 'home',
                start_new_session=True,
            )

    def _plan(self, limits: Limits, folder: Path, home: str, command: list[str]) -> dict:
        """What `sandbox.py` is to do."""
        return {
            'closed': self.closed,
            'number': next(_numbers),
            'root': str(folder / 'root'),
            'home': home,
            'disk': 2**29,
            'show': _shown(),
            'hide': [str(path.resolve()) for path in self.hide],
            'copy': {str(path): path.name for path in _fonts()},
            'command': command,
            'limits': {
                'AS': limits.memory + 4 * 2**30,  # of addresses PyTorch takes 3.3 GB to start with
                'CPU': int(limits.total) + 60,
                'FSIZE': limits.printed,
                'NPROC': 2 * limits.processes,  # threads count, too
                'CORE': 0,
            },
        }


@cache
def _shown() -> list[str]:
    """The files and folders that Python, PyTorch and this package need, parents first."""
    python = [sys.prefix, sys.base_prefix, *_site_folders(), str(PACKAGE)]
    real = [os.path.realpath(path) for path in python]
    paths = {os.path.abspath(path) for path in SYSTEM + python + real}
    return sorted(path for path in paths if os.path.exists(path))


def _site_folders() -> list[str]:
    """The folders of installed packages; never a folder of work that is on the path, too."""
    return [p for p in sys.path if Path(p).name in ('site-packages', 'dist-packages')]


def _fonts() -> list[Path]:
    """Matplotlib's list of fonts, which takes seconds to make."""
    return list(Path(matplotlib.get_cachedir()).glob('fontlist-*.json'))


def _environment(home: str) -> dict[str, str]:
    """Environment variables: nothing of the teacher's that a student's code has no need of."""
    users = [path for path in _site_folders() if path == site.getusersitepackages()]
    own = {
        **{name: home for name in ('HOME', 'USERPROFILE', 'MPLCONFIGDIR', 'IPYTHONDIR')},
        **{name: home for name in ('D2L_GAN_DATA', 'TORCH_HOME', 'XDG_CACHE_HOME')},
        **{name: '1' for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'TQDM_DISABLE')},
        'MPLBACKEND': 'Agg',
        'PYTHONPATH': os.pathsep.join([str(PACKAGE.parent), *users]),
        'PYTHONDONTWRITEBYTECODE': '1',
    }
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | own


def find_isolation(hide: Sequence[Path] = (), closed: bool = True) -> Isolation:
    """The best isolation that this system has; `closed=False` does without namespaces.

    It is tried with a process that does nothing.
    """
    why = 'as asked'
    if closed and sys.platform == 'linux':
        tried = Isolation(True, CLOSED, hide)
        with tempfile.TemporaryDirectory() as folder:
            process = tried.start(Limits(), Path(folder), 'this')
            process.communicate()
            said = Path(folder, 'log').read_text(errors='replace').strip().splitlines()
        if process.returncode == 0:
            return tried
        why = said[-1] if said else f'exit code {process.returncode}'
    elif closed:
        why = f'no namespaces on {sys.platform}'
    return Isolation(False, f'open: network and files within reach ({why})', hide)


def kept_limits(isolation: Isolation, limits: Limits) -> str:
    """What is limited on this system, and what is not, for the teacher before it starts."""
    size = f'{limits.memory / 2**30:.0f} GB of memory, {limits.printed / 2**20:.0f} MB of output'
    kept = (
        f'Limits for each submission: {limits.cell:.0f} s a cell, {limits.total:.0f} s in all, '
        f'{size}, {limits.processes} processes.'
    )
    if isolation.closed:
        return f'{kept} No network, no files but its own.'
    watched = 'watched ten times a second' + (
        '' if os.name == 'posix' else '; this system sets no limit of its own'
    )
    return (
        f'{kept} Memory and processes are {watched}.\n'
        f'{isolation.words[0].upper()}{isolation.words[1:]}. A submission can read and delete '
        "what you can, and reach the network. Grade strangers' work on Linux, or as a user who "
        'owns nothing.'
    )
