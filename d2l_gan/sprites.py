"""Sprites: a folder of drawn creatures, every kind in every hue, the same from the same seed."""

import os
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from d2l_gan.creatures import DRAWING, HUES, KINDS, TRAITS, draw
from d2l_gan.download import data_folder
from d2l_gan.files import put_in_place

MADE_BY = f'd2l_gan sprites, drawing {DRAWING}'
LITTER = {'.DS_Store', 'Thumbs.db', 'desktop.ini'}  # left behind by file browsers


def sprites(num_images: int = 4096, seed: int = 0, folder: str | os.PathLike | None = None) -> str:
    """Draw a folder of 64 x 64 PNG creatures for `torchvision.datasets.ImageFolder`.

    Every kind (the classes, `KINDS`) in every hue (`HUES`), equally often to within one image.
    Image k depends on `seed` and k alone. A second call finds the images.

    Parameters
    ----------
    num_images : int, at least one of each kind and hue
    seed : int, at least 0
    folder : path; by default one of its own in `data_folder()`

    Returns
    -------
    path : str

    Raises
    ------
    ValueError
        For a wrong number
    FileExistsError
        Where `folder` holds something else
    """
    least = len(KINDS) * len(HUES)
    for name, value, low in (('num_images', num_images, least), ('seed', seed, 0)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            raise ValueError(f'{name}: expected an int of at least {low}, got {value!r}')
    if folder is None:
        folder = data_folder() / f'sprites-v{DRAWING}-{num_images}-seed{seed}'
    target, (kinds, hues, names) = Path(folder).resolve(), _contents(int(num_images), int(seed))
    if not _is_complete(target, names):
        with put_in_place(target, lambda: _is_complete(target, names)) as new:
            _write_images(new, seed, kinds, hues, names)
    return str(folder)


def sprite_labels(samples: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """Read kind and hue of sprites from their paths.

    Parameters
    ----------
    samples : sequence, of paths, or of (path, class) pairs such as an ImageFolder's `samples`

    Returns
    -------
    kinds, hues : ndarray of int, shape (N,), indices into `KINDS` and into `list(HUES)`
    """
    paths = [Path(sample[0] if isinstance(sample, tuple) else sample) for sample in samples]
    kinds = np.array([KINDS.index(path.parent.name) for path in paths], int)
    return kinds, np.array([list(HUES).index(path.stem.split('_')[1]) for path in paths], int)


def _contents(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Kind, hue and path, such as `cat/00012_teal.png`, of each image; all pairs in each run."""
    pairs, hue_names = len(KINDS) * len(HUES), list(HUES)
    runs = range(-(-num_images // pairs))
    cells = [np.random.default_rng((seed, 0, run)).permutation(pairs) for run in runs]
    kinds, hues = np.divmod(np.concatenate(cells)[:num_images], len(HUES))
    each = enumerate(zip(kinds, hues, strict=True))
    return kinds, hues, [f'{KINDS[kind]}/{k:05d}_{hue_names[hue]}.png' for k, (kind, hue) in each]


def _write_images(
    folder: Path, seed: int, kinds: np.ndarray, hues: np.ndarray, names: list[str]
) -> None:
    """Draw the images, 16 at once, and write them into their class folders."""
    note = PngInfo()
    note.add_text('Software', MADE_BY)
    for index, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        members = np.flatnonzero(kinds == index)
        for chosen in np.split(members, range(16, len(members), 16)):
            uniforms = [np.random.default_rng((seed, 1, k)).random(len(TRAITS)) for k in chosen]
            for k, pixels in zip(chosen, draw(kind, hues[chosen], np.array(uniforms)), strict=True):
                Image.fromarray(pixels).save(folder / names[k], compress_level=1, pnginfo=note)


def _is_complete(folder: Path, names: list[str]) -> bool:
    """Whether `folder` holds the images whole, of this drawing; FileExistsError if also others."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise FileExistsError(f'sprites: {folder} is a file; give another folder')
    entries = [path for path in folder.rglob('*') if path.name not in LITTER]
    held = {path.relative_to(folder).as_posix() + '/' * path.is_dir() for path in entries}
    expected = {*names, *(f'{kind}/' for kind in KINDS)}
    if other := sorted(held - expected):  # not ours to remove
        raise FileExistsError(
            f'sprites: {folder} holds something else ({other[0]}, {len(other)} in all); '
            'nothing was changed there: give an empty or a new folder'
        )
    if held != expected or not all((folder / name).stat().st_size for name in names):
        return False
    with Image.open(folder / names[0]) as image:
        return image.info.get('Software') == MADE_BY
