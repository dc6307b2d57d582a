"""Data: fetched once and checked, unpacked whole or not at all, cut into batches."""

import errno
import gzip
import math
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

DATA_URL = 'http://d2l-data.s3-accelerate.amazonaws.com/'
# What can be asked for by name: the address, and the SHA-1 of the file (None: not known).
DATA_HUB: dict[str, tuple[str, str | None]] = {
    'pokemon': (DATA_URL + 'pokemon.zip', 'c065c0e2593b8b161a2d7873e42418bf6a21106c'),
}

TIMEOUT = (10.0, 30.0)  # seconds to wait for a connection, and for the next bytes
PAUSES = (0.5, 2.0)  # seconds before the second and the third try
ABANDONED = 24 * 3600  # seconds after which a temporary folder belongs to no living download
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz')


class DownloadError(OSError):
    """A file could not be had: the message names the cause and what helps."""


def data_folder() -> Path:
    """The folder of downloaded files: `D2L_GAN_DATA`, or else the user's cache folder."""
    import pooch

    chosen = os.environ.get('D2L_GAN_DATA')
    return Path(chosen).expanduser() if chosen else pooch.os_cache('d2l_gan')


def download(
    url_or_name: str, folder: str | os.PathLike | None = None, sha1_hash: str | None = None
) -> str:
    """Fetch a file unless it is there already; return its local name.

    Parameters: an http(s) address or a name in `DATA_HUB`; the folder to keep the file in, by
    default `data_folder()`; the file's SHA-1, by default the one in `DATA_HUB`.
    A file that is there is used without the network if its hash is right or no hash is known.
    A new one gets its name when it is complete and checked, so a killed download is never trusted.
    Raises ValueError for an unknown name, DownloadError where the file cannot be had.
    """
    import pooch

    url, sha1, path = _locate(url_or_name, folder, sha1_hash)
    note = ''
    if path.is_file():
        found = pooch.file_hash(path, 'sha1') if sha1 else None
        if found == sha1:
            return str(path)
        note = f' (The file there now has the SHA-1 {found}, not {sha1}.)'
    with _workshop(path.parent, path.name) as shop:
        part = shop / path.name
        try:
            _fetch(url, part)
        except DownloadError as error:
            raise DownloadError(
                f'{error} Without the network: put the file at {path} by hand, set D2L_GAN_DATA to '
                f"a folder that has it, or use d2l.sprites(), the course's own images.{note}"
            ) from None
        found = pooch.file_hash(part, 'sha1') if sha1 else None
        if found != sha1:
            raise DownloadError(
                f'{url} is not the file it should be: SHA-1 {sha1} expected, {found} received. It '
                'was not kept. Try again later; if the file has a new version, correct the hash.'
            )
        os.replace(part, path)
    return str(path)


def download_extract(name: str, folder: str | None = None) -> str:
    """Fetch a zip, tar, tar.gz or tgz archive, unpack it beside itself, return the folder's name.

    `pokemon.zip` becomes the folder `pokemon`; `folder` chooses another name or a path, such as
    'VOCdevkit/VOC2012'. Where the archive holds nothing but a folder of that name, or where it
    holds the folder asked for, that folder is unpacked; otherwise all that the archive holds is.
    A second call finds the folder and does nothing, unless the archive has changed.
    Members that point outside are refused.
    Raises ValueError for a name that is unknown, no archive's, or no relative path; DownloadError
    where the archive cannot be had or unpacked, or where the folder is there but not from here.
    """
    import pooch

    _, _, archive = _locate(name)
    kind = next((kind for kind in ARCHIVES if archive.name.lower().endswith(kind)), None)
    if kind is None:
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
    with _workshop(archive.parent, archive.name) as shop:
        content = shop / 'content'
        content.mkdir()
        _unpack(archive, content)
        others = {path.name for path in content.iterdir()} - {wanted, '__MACOSX'}
        if (content / wanted).is_dir() and (folder is not None or not others):
            content = content / wanted
        goal.parent.mkdir(parents=True, exist_ok=True)
        if goal.exists() and not is_current():
            os.replace(goal, shop / 'outdated')
        # The record goes first: a folder in place without one is then never ours.
        (shop / 'record').write_text(sha1)
        os.replace(shop / 'record', record)
        try:
            os.replace(content, goal)
        except OSError:
            if not is_current():  # else another kernel was faster
                raise
    return str(goal)


def load_array(data_arrays: Sequence[Tensor], batch_size: int, is_train: bool = True) -> DataLoader:
    """Batches of `batch_size` examples, the last one perhaps smaller, in a new order on each pass.

    Parameters: a tuple of tensors of shape (n, ...), the same n in each; with `is_train=False` the
    examples keep their order. A pass gives lists of tensors of shape (batch, ...), one per array.
    A batch is cut from the tensors at once, not put together from single examples.
    Raises TypeError, ValueError where the arguments do not fit.

    >>> import torch
    >>> [y.tolist() for x, y in load_array((torch.zeros(3, 2), torch.arange(3)), 2, is_train=False)]
    [[0, 1], [2]]
    """
    expected = 'data_arrays must be a tuple of tensors, such as (data,)'
    if isinstance(data_arrays, Tensor):
        raise TypeError(f'{expected}; got a tensor of shape {tuple(data_arrays.shape)}')
    for x in data_arrays:
        if not isinstance(x, Tensor):
            raise TypeError(f'{expected}; got one with a {type(x).__name__}')
    lengths = {len(x) if x.ndim else 0 for x in data_arrays}
    if len(lengths) != 1 or 0 in lengths:
        shapes = ', '.join(str(tuple(x.shape)) for x in data_arrays)
        raise ValueError(
            f'data_arrays must share their first dimension, of at least 1; got ({shapes})'
        )
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1; got {batch_size}')
    dataset = TensorDataset(*data_arrays)
    order = RandomSampler(dataset) if is_train else SequentialSampler(dataset)
    batches = BatchSampler(order, batch_size, drop_last=False)
    return DataLoader(dataset, sampler=batches, batch_size=None)


class InMemory:
    """The images of a loader, decoded once and kept as bytes: no file is read again.

    Parameters: a DataLoader of batches (X, y), X of shape (batch, channels, height, width) in
    [-1, 1], as `Normalize(0.5, 0.5)` gives them; the device of the batches. A pass gives batches
    (X, y) of `batch_size` on that device in a new order.

    `pixels` are the bytes, shape (n, channels, height, width), `labels` the classes. They lie on
    the device where they take at most half of what is free there, else in this machine's memory by
    the same rule, else in a temporary file in `data_folder()` that is mapped into memory.
    """

    def __init__(self, loader, batch_size: int, device: torch.device | str = 'cpu'):
        from tqdm.auto import tqdm

        self.batch_size, self.device = batch_size, torch.device(device)
        count, done = len(loader.dataset), 0
        shape = loader.dataset[0][0].shape if count else (0,)
        self.pixels = _room_for(count, shape, self.device)
        self.labels = torch.zeros(count, dtype=torch.int64, device=self.device)
        # NumPy copies with one thread; PyTorch's second would wait busily, at the workers' cost.
        pixels = self.pixels.numpy() if self.pixels.device.type == 'cpu' else self.pixels
        loader = _in_bytes(loader)
        with tqdm(total=len(loader), desc='images', unit='batch', leave=False) as bar:
            for X, y in loader:  # not through the bar, which would start the workers twice
                here = slice(done, done := done + len(X))
                pixels[here] = X if X.dtype == torch.uint8 else _to_bytes(X)
                self.labels[here] = y
                bar.update()
        self.pixels, self.labels = self.pixels[:done], self.labels[:done]  # drop_last leaves some

    def __len__(self) -> int:
        return -(-len(self.pixels) // self.batch_size)

    def __getitem__(self, index) -> Tensor:
        """The images at `index` (a slice, list or tensor), back in [-1, 1]."""
        return self.pixels[index].to(self.device).float() / 127.5 - 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.pixels)).to(self.device)
        for chosen in order.split(self.batch_size):
            yield self[chosen.to(self.pixels.device)], self.labels[chosen]


def _to_bytes(X: Tensor) -> Tensor:
    """Images in [-1, 1] as the bytes 0 to 255, rounded (half added, then cut off)."""
    return torch.add(torch.tensor(128.0), X, alpha=127.5).to(torch.uint8)


def _collate_bytes(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return default_collate([(_to_bytes(X), y) for X, y in samples])


def _in_bytes(loader: DataLoader) -> DataLoader:
    """The same batches, where possible turned into bytes by the workers: a quarter to send."""
    if loader.batch_sampler is None or loader.collate_fn is not default_collate:
        return loader
    return DataLoader(
        loader.dataset,
        batch_sampler=loader.batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=_collate_bytes,
    )


def _room_for(count: int, shape: Sequence[int], device: torch.device) -> Tensor:
    """Bytes for `count` images, not filled: on the device, in memory, or in a mapped file."""
    import psutil

    size = count * math.prod(shape)
    if device.type == 'cuda' and size <= torch.cuda.mem_get_info(device)[0] / 2:
        return torch.empty(count, *shape, dtype=torch.uint8, device=device)
    if size <= psutil.virtual_memory().available / 2:
        fits = device if device.type != 'cuda' else 'cpu'
        return torch.empty(count, *shape, dtype=torch.uint8, device=fits)
    with _workshop(data_folder(), 'the decoded images') as shop:
        if shutil.disk_usage(shop).free < size:  # a mapped file fails only when it is written to
            raise OSError(errno.ENOSPC, f'{size / 1e6:.0f} MB are needed')
        file = Path(tempfile.mkdtemp(prefix='.d2l-', dir=data_folder())) / 'pixels'
        mapped = torch.from_file(str(file), shared=True, size=size, dtype=torch.uint8)
        shutil.rmtree(file.parent, ignore_errors=True)  # the bytes live as long as they are mapped
    return mapped.reshape(count, *shape)


def get_dataloader_workers() -> int:
    """How many worker processes a DataLoader should have here: one per usable core, at most 4.

    0 where processes are not forked (Windows, macOS, newer Pythons): there a worker would have to
    import what it works on, and what a notebook defines cannot be imported.
    """
    # Asked in this way, the start method is not fixed by asking.
    method = multiprocessing.get_start_method(allow_none=True)
    if (method or multiprocessing.get_all_start_methods()[0]) != 'fork':
        return 0
    affinity = getattr(os, 'sched_getaffinity', None)
    return min(4, len(affinity(0)) if affinity else os.cpu_count() or 1)


def _locate(
    url_or_name: str, folder: str | os.PathLike | None = None, sha1_hash: str | None = None
) -> tuple[str, str | None, Path]:
    """The address, the SHA-1 in small letters (None: not known) and the local path of a file."""
    if url_or_name in DATA_HUB:
        url, sha1 = DATA_HUB[url_or_name]
    elif url_or_name.lower().startswith(('http://', 'https://')):
        url, sha1 = url_or_name, None
    else:
        raise ValueError(
            f'{url_or_name!r} is neither an http(s) address nor a name in DATA_HUB, '
            f'which knows {", ".join(sorted(DATA_HUB))}'
        )
    name = Path(unquote(urlsplit(url).path)).name
    if name in ('', '..'):
        raise ValueError(f'{url} does not end in the name of a file')
    if url.startswith(DATA_URL):
        url = url.replace('http://', 'https://', 1)
    sha1 = sha1_hash or sha1
    folder = data_folder() if folder is None else Path(folder).expanduser()
    return url, sha1.lower() if sha1 else None, folder / name


class _Bar:
    """What pooch asks of a progress bar, drawn by tqdm from when the server has named the size.

    The bar that pooch makes itself is 79 characters wide, which in a notebook are 79 pixels.
    """

    def __init__(self, name: str):
        self.name, self.bar = name, None

    @property
    def total(self) -> int | None:
        return self.bar.total

    @total.setter
    def total(self, size: int):
        from tqdm.auto import tqdm

        self.bar = tqdm(total=size or None, desc=self.name, unit='B', unit_scale=True)

    def update(self, size: int):
        # pooch adds whole chunks, and in the end the total again.
        left = size if self.total is None else self.total - self.bar.n
        self.bar.update(min(size, left))

    def reset(self):
        pass

    def close(self):
        if self.bar is not None:
            self.bar.close()


def _fetch(url: str, path: Path) -> None:
    """Write what `url` sends to `path`; what may pass (a 5xx, a stall, a cut) is tried again."""
    import pooch
    import requests

    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    for pause in (*PAUSES, None):
        bar = _Bar(path.name)
        # Not compressed on the way, so that the Content-Length is the file's and can be held to.
        get = pooch.HTTPDownloader(
            bar, chunk_size=2**16, timeout=TIMEOUT, headers={'Accept-Encoding': 'identity'}
        )
        try:
            get(url, path, None)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            cause = f'{url} answered with HTTP status {status} ({error.response.reason}).'
            again = status in (408, 429) or status >= 500
        except requests.RequestException as error:
            detail = str(error).rstrip('.')
            cause = f'{url} could not be fetched; is there a network? ({detail})'
            again = isinstance(error, passing)
        finally:
            bar.close()
        if pause is None or not again:
            raise DownloadError(cause)
        time.sleep(pause)


@contextmanager
def _workshop(folder: Path, name: str) -> Iterator[Path]:
    """A private temporary folder inside `folder` in which `name` is made, removed in the end.

    What is finished is moved out with `os.replace`: on one file system, all or nothing. A process
    that is killed leaves its workshop behind; the next one to come clears away those of yesterday.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob('.d2l-*'):
            with suppress(FileNotFoundError):  # another process cleared it away
                if time.time() - old.stat().st_mtime > ABANDONED:
                    shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix='.d2l-', dir=folder) as shop:
            yield Path(shop)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            cause = f'no room on the disk, {shutil.disk_usage(folder).free / 1e6:.1f} MB are free'
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            cause = 'no permission to write there'
        else:
            raise
        raise DownloadError(
            f'{name} cannot be kept in {folder}: {cause} ({error.strerror}). '
            'Make room, or set D2L_GAN_DATA to another folder.'
        ) from None


def _points_outside(name: str) -> bool:
    """Whether a path is absolute or climbs with '..', in the spelling of any operating system."""
    path = PureWindowsPath(name)  # knows both slashes, and drives
    return bool(path.anchor) or '..' in path.parts


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into an empty folder; DownloadError where that is not safe."""
    outside = f'{archive.name} was not unpacked: a member points outside its folder'
    is_zip = archive.name.lower().endswith('.zip')
    try:
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as file:
            names = file.namelist() if is_zip else file.getnames()
            if bad := next(filter(_points_outside, names), None):
                raise DownloadError(f'{outside}: {bad}')
            file.extractall(folder, **({} if is_zip else {'filter': 'data'}))
    except tarfile.FilterError as error:
        raise DownloadError(f'{outside}: {error}') from None
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        RuntimeError,
    ) as error:
        cause = str(error).partition('\n')[0].rstrip(':')
        raise DownloadError(
            f'{archive} cannot be unpacked as a {"zip" if is_zip else "tar"} archive: {cause}. '
            f'Kinds that can be: {", ".join(ARCHIVES)}. Delete the file and call again.'
        ) from None
