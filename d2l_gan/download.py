"""Files from the network: fetched once and checked, unpacked whole or not at all.

Pooch keeps the temporary file, checks the hash, moves into place and tries again. Ours are: a 4xx
that is final, messages that name the way out, a file that all may read, and archives that stay in
their folder and appear there whole (`pooch.Unzip` would trust a killed one's half).
"""

import errno
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pooch

from d2l_gan.files import put_in_place
from d2l_gan.timing import progress

#: Where the book keeps its data.
DATA_URL = 'http://d2l-data.s3-accelerate.amazonaws.com/'
#: What can be asked for by name, each with its address and its SHA-1 (None where it is not known).
DATA_HUB: dict[str, tuple[str, str | None]] = {
    'pokemon': (DATA_URL + 'pokemon.zip', 'c065c0e2593b8b161a2d7873e42418bf6a21106c'),
}
TIMEOUT = (10.0, 30.0)  # seconds to wait for a connection, and for the next bytes
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz')
BROKEN = (zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, EOFError, RuntimeError)
StrPath = str | os.PathLike


class DownloadError(OSError):
    """A file could not be had: the message names the cause and what helps."""


def data_folder() -> Path:
    """Where downloaded files are kept: `D2L_GAN_DATA`, or else the user's cache folder."""
    chosen = os.environ.get('D2L_GAN_DATA')
    return Path(chosen).expanduser() if chosen else pooch.os_cache('d2l_gan')


def download(url_or_name: str, folder: StrPath | None = None, sha1_hash: str | None = None) -> str:
    """Fetch a file, unless it is there with the right hash or none known, and return its path.

    Parameters
    ----------
    url_or_name : str, an http(s) address or a name in `DATA_HUB`
    folder : path, where to keep the file; by default `data_folder()`
    sha1_hash : str, the file's SHA-1; by default the one in `DATA_HUB`

    Raises
    ------
    ValueError
        For an unknown name
    DownloadError
        Where the file cannot be had
    """
    url, sha1, path = _locate(url_or_name, folder)
    sha1 = (sha1_hash or sha1 or '').lower()
    registry = {path.name: f'sha1:{sha1}' if sha1 else None}
    pooch.get_logger().setLevel('WARNING')  # a progress bar says enough
    shelf = pooch.Pooch(path.parent, '', registry, {path.name: url}, retry_if_failed=2)
    with _explained(path, url):
        shelf.fetch(path.name, downloader=_get)
    return str(path)


def download_extract(name: str, folder: str | None = None) -> str:
    """Fetch an archive (zip, tar, tar.gz, tgz), unpack it beside itself, return the folder's path.

    Parameters
    ----------
    name : str, in `DATA_HUB` or an http(s) address
    folder : str, a path such as 'VOCdevkit/VOC2012'; by default 'pokemon' for `pokemon.zip`
        From the archive's folder of that name (by default where that is all it holds), else all.

    Raises
    ------
    ValueError
        For a name that is unknown, no archive's, or no relative path
    DownloadError
        Where it cannot be had or unpacked, or the folder is there but not from here
    """
    archive = _locate(name)[2]
    kind = next((kind for kind in ARCHIVES if archive.name.lower().endswith(kind)), '')
    if not kind:
        raise ValueError(f'{archive.name} is no archive by its name: {", ".join(ARCHIVES)} are')
    wanted = archive.name[: -len(kind)] if folder is None else folder
    if not Path(wanted).parts or _points_outside(wanted):
        raise ValueError(f'folder must be a relative path inside the data folder, not {wanted!r}')
    goal = archive.parent / wanted
    sha1 = pooch.file_hash(download(name), 'sha1')
    record = goal.with_name(f'.{goal.name}.sha1')  # the hash of the archive that `goal` came from

    def is_current() -> bool:
        return goal.is_dir() and record.is_file() and record.read_text() == sha1

    if is_current():
        return str(goal)
    if goal.exists() and not record.exists():
        raise DownloadError(f'{goal} is there, but not unpacked from {archive.name}: move it away')
    # The record goes first: a folder in place without one is then never ours.
    placed = put_in_place(goal, is_current, lambda: record.write_text(sha1))
    with _explained(archive), placed as new:
        content = new.with_name('content')
        content.mkdir()
        _unpack(archive, content)
        others = {path.name for path in content.iterdir()} - {wanted, '__MACOSX'}
        inner = (content / wanted).is_dir() and (folder is not None or not others)
        os.replace(content / wanted if inner else content, new)
    return str(goal)


def _locate(name: str, folder: StrPath | None = None) -> tuple[str, str | None, Path]:
    """Give the address, the SHA-1 (None: not known) and the local path."""
    url, sha1 = DATA_HUB.get(name, (name, None))
    if not url.lower().startswith(('http://', 'https://')):
        known = ', '.join(sorted(DATA_HUB))
        raise ValueError(f'{url!r} is neither http(s) nor a name in DATA_HUB, which knows {known}')
    file = Path(unquote(urlsplit(url).path)).name
    if file in ('', '..'):
        raise ValueError(f'{url} does not end in the name of a file')
    if url.startswith(DATA_URL):
        url = url.replace('http://', 'https://', 1)
    place = data_folder() if folder is None else Path(folder).expanduser()
    return url, sha1, place / file


def _get(url: str, output: str, shelf: pooch.Pooch) -> None:
    """Write what `url` sends to `output`, as pooch's own would but for its bar of 79 pixels."""
    import requests

    # Not compressed on the way, so that the Content-Length is the file's and can be held to.
    plain = {'Accept-Encoding': 'identity'}
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=plain) as answer:
        status, size = answer.status_code, int(answer.headers.get('Content-Length', 0))
        if status >= 400:  # pooch tries again after requests' errors only
            may_pass = status in (408, 429) or status >= 500
            error = requests.HTTPError if may_pass else DownloadError
            raise error(f'HTTP status {status} ({answer.reason}).')
        os.unlink(output)  # pooch's is closed to everybody else; a new one has the usual mode
        unit = {'desc': shelf.registry_files[0], 'unit': 'B', 'unit_scale': True}
        bar = progress(total=size or None, leave=True, **unit)
        with bar, open(output, 'wb') as file:
            for chunk in answer.iter_content(2**16):
                bar.update(file.write(chunk))


@contextmanager
def _explained(path: Path, url: str = '') -> Iterator[None]:
    """Say what helps where a file cannot be kept at `path`, or not be had from `url`."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError is pooch's, for a wrong hash
        closed, code = f'{path.name} cannot be kept in {path.parent}', getattr(error, 'errno', None)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(path.parent).free / 1e6
            message = f'{closed}: no room on the disk, {free:.1f} MB are free. Make room, or'
        elif code == errno.EROFS or isinstance(error, PermissionError):
            message = f'{closed}: no permission to write there. Get it, or'
        elif url:
            there = f'SHA-1 {pooch.file_hash(path, "sha1")}' if path.is_file() else 'nothing'
            lost = f'{url} could not be fetched: {error} Is there a network? Without it, put it at'
            message = (
                f'{lost} {path} (found there: {there}), use d2l.sprites() or, to look elsewhere,'
            )
        else:
            raise
        raise DownloadError(f'{message} set D2L_GAN_DATA to another folder.') from None


def _points_outside(name: str) -> bool:
    """Whether a path is absolute or climbs with '..', in the spelling of any operating system."""
    path = PureWindowsPath(name)  # knows both slashes, and drives
    return bool(path.anchor) or '..' in path.parts


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into an empty folder; DownloadError where that is not safe."""
    is_zip = archive.name.lower().endswith('.zip')
    file: Any  # a ZipFile and a TarFile have little in common
    try:
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as file:
            for name in file.namelist() if is_zip else file.getnames():
                if _points_outside(name):
                    raise tarfile.FilterError(name)
            file.extractall(folder, **({} if is_zip else {'filter': 'data'}))
    except tarfile.FilterError as error:
        raise DownloadError(
            f'{archive.name}: a member points outside its folder: {error}'
        ) from None
    except BROKEN as error:
        cause = str(error).partition('\n')[0].rstrip(':.')
        helps = f'Delete it and call again. Kinds that can be: {", ".join(ARCHIVES)}'
        raise DownloadError(f'{archive} cannot be unpacked ({cause}). {helps}') from None
