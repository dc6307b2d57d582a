"""The images of a training: drawn sprites, the book's Pokémon, or a folder of pictures."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from d2l_gan.download import download_extract
from d2l_gan.sprites import sprites

SIDE = 64


class NoPictures(ValueError):
    """A folder holds too few pictures, or none; the message says what was found."""


def read_picture(file: Path | BytesIO) -> Tensor:
    """A picture as bytes, shape (3, 64, 64): its middle square, on white where it is transparent.

    What cannot be decoded is an error as Pillow has it, of nearly any kind.
    """
    with Image.open(file) as picture:
        turned = ImageOps.exif_transpose(picture)  # as the camera was held
    if turned.mode.startswith('I'):  # greys of 16 bits, which `convert` would cut off
        turned = turned.convert('I').point(lambda grey: grey / 256).convert('L')
    shown = turned.convert('RGBA')
    white = Image.new('RGBA', shown.size, 'white')
    flat = Image.alpha_composite(white, shown).convert('RGB')
    square = ImageOps.fit(flat, (SIDE, SIDE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def find_pictures(data: str, images: int) -> list[Path]:
    """The files of `sprites` (so many of them), of `pokemon`, or of a folder and those in it."""
    if data in ('sprites', 'pokemon'):
        folder = Path(sprites(images) if data == 'sprites' else download_extract('pokemon'))
    else:
        folder = Path(data)
        if not folder.is_dir():
            raise NoPictures(f'data: {data} is no folder; nor sprites, nor pokemon')
    Image.init()
    known = set(Image.registered_extensions())
    found = [path for path in folder.rglob('*') if path.suffix.lower() in known and path.is_file()]
    if not found:
        raise NoPictures(
            f'data: no pictures in {folder}. What counts are files that end in .png, .jpg, .webp '
            'and the like, in folders of it as well.'
        )
    return sorted(found)


def read_pictures(paths: Sequence[Path]) -> tuple[Tensor, list[Path]]:
    """The pictures as bytes, shape (n, 3, 64, 64), and the files that could not be decoded.

    Raises
    ------
    OSError
        Where a file cannot be read: a share that is gone is no lack of pictures
    """
    pixels, broken = [], []
    for path in paths:
        file = BytesIO(path.read_bytes())
        try:
            pixels.append(read_picture(file))
        except Exception:  # a damaged file may lead a decoder anywhere
            broken.append(path)
    empty = torch.zeros(0, 3, SIDE, SIDE, dtype=torch.uint8)
    return torch.stack(pixels) if pixels else empty, broken
