"""Written aside, then moved into place: a file or folder is there as a whole, or as it was."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 24 * 3600  # seconds after which a temporary folder belongs to no living process


@contextmanager
def put_in_place(
    path: Path, is_current: Callable = lambda: False, before_move: Callable = lambda: None
) -> Iterator[Path]:
    """Yield a name to write a file or folder to; at the end of the block it moves to `path`.

    A folder for which `is_current()` holds stays (another process was faster); an outdated one is
    taken away, `before_move()` called, and the new one moved in. A killed process leaves a folder
    `.d2l-...` behind: never read, and cleared away after a day by the next to come.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob('.d2l-*'):
        with suppress(FileNotFoundError):  # another process cleared it away
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix='.d2l-', dir=path.parent) as aside:
        yield (new := Path(aside, 'new'))
        if new.is_file():  # else a power cut may leave the name without the bytes
            with open(new, 'rb+') as file:
                os.fsync(file.fileno())
        try:
            if new.is_dir() and path.is_dir() and not is_current():
                os.replace(path, new.with_name('old'))
            before_move()
            os.replace(new, path)
        except OSError:
            time.sleep(0.2)  # another process may be between its two moves
            if not is_current():
                raise
