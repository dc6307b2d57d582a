"""Drawn creatures to train on: four kinds times eight hues, deterministic from a seed.

Every part of a creature is a signed distance field on the pixel grid, negative inside, in pixels;
`Canvas.paint` turns it into an antialiased shape. A batch of one kind is drawn at once: every
quantity has shape (N, 1, H, W) or broadcasts to it, and colours have shape (N, 3, 1, 1).

In the drawing functions `c` is the canvas, `t` the traits, `x` and `y` each pixel in the creature's
own coordinates (y down, 0 in the middle), and `side` = |x| paints left and right at once.
"""

import numbers
import os
import tempfile
import time
from copy import copy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from d2l_gan.data import data_folder

DRAWING = 1  # raised whenever a pixel changes, so that images of an older drawing are not taken
MADE_BY = f'd2l_gan sprites, drawing {DRAWING}'
LITTER = {'.DS_Store', 'Thumbs.db', 'desktop.ini'}  # left behind by file browsers
SIDE = 64
KINDS = ('bunny', 'cat', 'dragon', 'unicorn')  # sorted, as ImageFolder numbers its classes
HUES = {
    'red': (222, 66, 62),
    'orange': (245, 143, 50),
    'yellow': (250, 214, 72),
    'green': (112, 186, 74),
    'teal': (60, 186, 188),
    'blue': (72, 112, 222),
    'purple': (142, 86, 194),
    'pink': (248, 160, 200),
}
WHITE = np.ones((1, 3, 1, 1), np.float32)
BLUSH = np.array([1.0, 0.45, 0.5], np.float32).reshape(1, 3, 1, 1)
GOLD = np.array([1.0, 0.86, 0.45], np.float32).reshape(1, 3, 1, 1)

# Windows (rows, columns) that hold all of a part in every pose: working only there is faster.
BODY = np.s_[:, :, 30:, 8:56]
HEAD = np.s_[:, :, 8:46, 8:56]
FRONT = np.s_[:, :, :34, 12:52]
FACE = np.s_[:, :, 18:46, 12:52]

# What varies from creature to creature, each drawn evenly from its range (lengths in pixels).
TRAITS = {
    'shift_x': (-1.0, 1.0),
    'shift_y': (-0.7, 0.7),
    'scale': (0.93, 1.0),
    'tilt': (-0.08, 0.08),
    'mirror': (-1, 1),
    'shade': (-0.1, 0.12),
    'head_w': (15.0, 17.5),
    'head_h': (12.5, 14.0),
    'body_w': (9.5, 11.5),
    'arm': (-3.5, 2.5),
    'length': (0.0, 2.0),
    'lean': (-1.0, 1.0),
    'eye_gap': (6.4, 8.2),
    'eye_y': (-4.5, -2.5),
    'eye_size': (0.85, 1.15),
    'look': (-1.0, 1.0),
    'blink': (0.0, 1.0),
    'mouth': (0.0, 4.0),
    'cheek': (0.4, 0.9),
    'marking': (0.0, 1.0),
}


def ellipse(x, y, center_x, center_y, radius_x, radius_y):
    """Signed distance to an ellipse, nearly exact around its edge."""
    u, v = (x - center_x) / radius_x, (y - center_y) / radius_y
    length = np.sqrt(u * u + v * v)
    u, v = u / radius_x, v / radius_y
    return length * (length - 1) / np.sqrt(u * u + v * v + 1e-9)


def capsule(x, y, start, end, radius_start, radius_end):
    """Signed distance to a line from `start` to `end` whose radius changes along it."""
    x, y = x - start[0], y - start[1]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    t = (x * along_x + y * along_y) / (along_x * along_x + along_y * along_y)
    t = np.clip(t, 0, 1)
    x, y = x - t * along_x, y - t * along_y
    return np.sqrt(x * x + y * y) - (radius_start + t * (radius_end - radius_start))


def curve(x, y, start, bend, end, radius_start, radius_end, pieces=5):
    """Signed distance to a tapering quadratic Bezier curve, as a chain of capsules."""
    knots = [k / pieces for k in range(pieces + 1)]
    weights = [((1 - k) ** 2, 2 * k * (1 - k), k * k) for k in knots]
    points = [[a * start[i] + b * bend[i] + c * end[i] for i in (0, 1)] for a, b, c in weights]
    radii = [radius_start + k * (radius_end - radius_start) for k in knots]
    links = zip(pairwise(points), pairwise(radii), strict=True)
    return np.minimum.reduce([capsule(x, y, *ends, *radii) for ends, radii in links])


def arc(x, y, center_x, center_y, radius_x, radius_y, width, upper=False):
    """Signed distance to the lower (or upper) half of an ellipse's outline."""
    ring = np.abs(ellipse(x, y, center_x, center_y, radius_x, radius_y)) - width
    return np.maximum(ring, y - center_y if upper else center_y - y)


def wing(side, y, lift, reach):
    """Signed distance to a bat's wing: a triangle with two bites."""
    tip_x, tip_y = 24 + reach, -7 - lift
    slope_x, slope_y = tip_x - 6, tip_y - 10
    top = (slope_y * (side - 6) - slope_x * (y - 10)) / np.sqrt(slope_x**2 + slope_y**2)
    blade = np.maximum(np.maximum(top, side - tip_x), y - 17)
    outer = ellipse(side, y, tip_x + 2, 6.5, 5, 6.5)
    lower = ellipse(side, y, tip_x - 6, 19.5, 6, 6)
    return np.maximum(blade, -np.minimum(outer, lower))


def curls(x, y, circles):
    """Signed distance to a cloud of circles, each (center_x, center_y, radius)."""
    return np.minimum.reduce([ellipse(x, y, a, b, radius, radius) for a, b, radius in circles])


class Canvas:
    """A batch of white images (N, 3, H, W) to paint on, with the colours of each creature."""

    def __init__(self, base):
        self.pixels = np.ones((len(base), 3, SIDE, SIDE), np.float32)
        self.base = base
        self.shadow = base * 0.8
        self.light = base + 0.62 * (1 - base)
        self.ink = base * 0.27
        self.dark = base * 0.15

    def crop(self, box):
        """The same canvas, seen through a window: what lies outside is not worked out."""
        view = copy(self)
        view.pixels = self.pixels[box]
        return view

    def paint(self, distance, color, shown=1.0, soft=1.0):
        """Lay `color` where `distance` is negative; the edge is `soft` pixels wide."""
        cover = np.clip(0.5 - distance / soft, 0, 1) * shown
        rows, columns = (np.flatnonzero(cover.max(axis=other)) for other in ((0, 1, 3), (0, 1, 2)))
        if len(rows):
            box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            self.pixels[box] += cover[box] * (color - self.pixels[box])

    def part(self, distance, color, line=1.6):
        """Lay a shape with an outline around it."""
        self.paint(distance - line, self.ink)
        self.paint(distance, color)


def draw_behind(kind, c, t, x, y):
    """Paint what the head and the body cover: ears, horns, wings, tails."""
    side = np.abs(x)
    if kind == 'bunny':
        c.part(ellipse(x, y, 11, 20, 4.2, 4.2), c.light)
        tip = (8.0 + 2 * t.lean, -22.8 - t.length)
        c.part(capsule(side, y, (6.0, -12.0), tip, 4.4, 3.8), c.base)
        c.paint(capsule(side, y, (6.0, -12.0), tip, 2.4, 1.8), c.light)
    elif kind == 'cat':
        c.part(curve(x, y, (6, 22), (25, 26), (21 + t.lean, 7 - t.length), 3.0, 2.6), c.base)
        tip = (14.5 + t.lean, -22.0 - t.length)
        c.part(capsule(side, y, (9.5, -10.0), tip, 7.0, 0.8), c.base)
        c.paint(capsule(side, y, (9.8, -10.0), tip, 4.4, -0.8), c.light)
    elif kind == 'dragon':
        c.part(curve(x, y, (5, 22.5), (19, 27), (22.5, 16), 3.6, 0.6), c.base)
        c.part(wing(side, y, 2 * t.lean, 0.7 * t.length), c.light)
        tip = (11.5 + t.lean, -21.0 - t.length)
        c.part(capsule(side, y, (7.5, -14.0), tip, 3.2, 0.6), GOLD)
    else:
        c.part(curls(x, y, [(11, 17, 3.5), (15.5, 18.5, 4.2), (17 + t.lean, 24, 3.2)]), c.light)
        locks = [(6, -17, 4.5), (13.5, -13, 5.0), (17.5, -5.5, 5.0), (17.5 + t.lean, 2.5, 4.2)]
        c.part(curls(x, y, locks), c.light)
        c.part(capsule(side, y, (11.0, -12.0), (14.0 + t.lean, -18.5), 3.4, 1.0), c.base)


def draw_body(c, t, x, y, lit):
    """Paint feet, torso, belly and arms; `lit` is the side the light comes from, -1 or 1."""
    side = np.abs(x)
    torso = ellipse(x, y, 0, 13.5, t.body_w, 11)
    c.part(ellipse(side, y, 5.8, 24.5, 4.8, 3), c.base)
    c.part(torso, c.shadow)
    c.paint(np.maximum(ellipse(x, y, 2 * lit, 11.5, t.body_w - 2, 9), torso), c.base, soft=4)
    c.paint(ellipse(x, y, 0, 16, t.body_w * 0.62, 6.8), c.light)
    hand = (t.body_w + 0.5, 13.5 + t.arm)
    c.part(capsule(side, y, (t.body_w - 1.5, 10.5), hand, 2.2, 2.4), c.base, line=1.3)


def draw_head(c, t, x, y, lit):
    """Paint the head with its soft light."""
    head = ellipse(x, y, 0, -4.5, t.head_w, t.head_h)
    c.part(head, c.shadow)
    glow = ellipse(x, y, 2 * lit, -6.5, t.head_w - 2, t.head_h - 2)
    c.paint(np.maximum(glow, head), c.base, soft=5)
    shine = ellipse(x, y, 6 * lit, -13, t.head_w * 0.35, 2.5)
    c.paint(shine, c.light, shown=0.55, soft=4)


def draw_front(kind, c, t, x, y):
    """Paint what lies on the head: the unicorn's fringe and horn, a tabby's stripes."""
    side = np.abs(x)
    if kind == 'unicorn':
        c.part(curls(x, y, [(3.5, -15, 3.2), (8.5, -12.5, 2.6)]), c.light, line=1.3)
        c.part(capsule(x, y, (0, -16.0), (1.5 * t.lean, -26.0 - t.length), 3.4, 0.5), GOLD)
    elif kind == 'cat':
        for stripe, end in ((0, -10.8), (4.6, -12.2)):
            line = capsule(side, y, (stripe, -16.5), (stripe, end), 1.1, 0.8)
            c.paint(line, c.ink, shown=t.marking < 0.5)


def draw_face(kind, c, t, x, y, lit):
    """Paint muzzle, cheeks, nose, eyes and mouth."""
    side, sign = np.abs(x), np.sign(x)
    pale = (t.marking > 0.5) | (kind == 'unicorn')
    c.paint(ellipse(x, y, 0, t.eye_y + 6.8, 7.0, 4.6), c.light, shown=pale, soft=1.5)
    cheek = np.minimum(t.eye_gap + 3, 0.62 * t.head_w)
    c.paint(ellipse(side, y, cheek, t.eye_y + 6, 2.8, 1.9), BLUSH, t.cheek, soft=2)
    if kind in ('bunny', 'cat'):
        c.paint(ellipse(x, y, 0, t.eye_y + 3.2, 1.7, 1.1), c.ink)
    else:
        c.paint(ellipse(side, y, 1.8, t.eye_y + 3.4, 0.8, 0.9), c.ink)
    draw_eyes(c, t, side, sign, y, lit)
    draw_mouth(c, t, x, y)


def draw_eyes(c, t, side, sign, y, lit):
    """Paint two eyes that look somewhere, or are closed in a smile."""
    awake = t.blink > 0.12
    wide, high = 3.2 * t.eye_size, 4.2 * t.eye_size
    gaze = t.eye_gap + 0.8 * t.look * sign
    c.paint(ellipse(side, y, t.eye_gap, t.eye_y, wide + 0.8, high + 0.8), WHITE, awake)
    c.paint(ellipse(side, y, gaze, t.eye_y, wide, high), c.dark, awake)
    shine = lit * sign
    c.paint(ellipse(side, y, gaze + 0.9 * shine, t.eye_y - 1.5, 1.7, 1.8), WHITE, awake)
    c.paint(ellipse(side, y, gaze - 1.1 * shine, t.eye_y + 2.0, 1.0, 1.0), c.light, awake)
    closed = arc(side, y, t.eye_gap, t.eye_y + 1.5, 3.0, 3.0, 0.8, upper=True)
    c.paint(closed, c.dark, ~awake)


def draw_mouth(c, t, x, y):
    """Paint a smile, an o, a cat's mouth or a laugh with a tongue."""
    mouth_y = t.eye_y + 6
    style = np.floor(t.mouth)
    c.paint(arc(x, y, 0, mouth_y, 3.2, 2.4, 0.7), c.dark, style == 0)
    c.paint(ellipse(x, y, 0, mouth_y + 1.4, 1.9, 2.2), c.dark, style == 1)
    c.paint(arc(np.abs(x), y, 2.0, mouth_y, 2.0, 2.0, 0.7), c.dark, style == 2)
    laugh = np.maximum(ellipse(x, y, 0, mouth_y, 3.8, 4.2), mouth_y - y)
    c.paint(laugh, c.dark, style == 3)
    c.paint(np.maximum(ellipse(x, y, 0, mouth_y + 4, 2.4, 2.2), laugh + 0.8), BLUSH, style == 3)


def draw(kind, hues, uniforms):
    """Draw creatures of one kind.

    Parameters: the kind's name, hue indices of shape (N,), numbers in [0, 1) of shape
    (N, len(TRAITS)). Returns uint8 pixels of shape (N, 64, 64, 3).
    """
    low, high = np.array(list(TRAITS.values()), np.float32).T
    values = (low + (high - low) * uniforms.astype(np.float32)).T.reshape(-1, len(hues), 1, 1, 1)
    t = SimpleNamespace(**dict(zip(TRAITS, values, strict=True)))
    base = np.array(list(HUES.values()), np.float32)[hues].reshape(-1, 3, 1, 1) / 255
    base = base + np.abs(t.shade) * ((t.shade > 0) - base)
    c = Canvas(base.astype(np.float32))
    x, y, lit = pose(t)
    draw_behind(kind, c, t, x, y)
    draw_body(c.crop(BODY), t, x[BODY], y[BODY], lit)
    draw_head(c.crop(HEAD), t, x[HEAD], y[HEAD], lit)
    draw_front(kind, c.crop(FRONT), t, x[FRONT], y[FRONT])
    draw_face(kind, c.crop(FACE), t, x[FACE], y[FACE], lit)
    return np.rint(c.pixels * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def pose(t):
    """Each creature's own coordinates: shifted, tilted, scaled, perhaps mirrored.

    No sine or cosine: + - * / and square roots are rounded alike on every machine.
    """
    line = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x, y = line.reshape(1, 1, 1, -1) - t.shift_x, line.reshape(1, 1, -1, 1) - t.shift_y
    cosine = 1 / np.sqrt(1 + t.tilt * t.tilt)
    sine = t.tilt * cosine
    mirror = np.where(t.mirror < 0, -1, 1).astype(np.float32)
    return mirror * (cosine * x + sine * y) / t.scale, (cosine * y - sine * x) / t.scale, -mirror


def cells(num_images, seed):
    """Kind and hue of every image, int arrays (num_images,): each run of 32 holds every pair."""
    pairs = len(KINDS) * len(HUES)
    runs = range(-(-num_images // pairs))
    cell = [np.random.default_rng((seed, 0, run)).permutation(pairs) for run in runs]
    return np.divmod(np.concatenate(cell)[:num_images], len(HUES))


def image_names(kinds, hues):
    """The path of every image inside its folder, such as `cat/00012_teal.png`."""
    hue_names = list(HUES)
    pairs = enumerate(zip(kinds, hues, strict=True))
    return [f'{KINDS[kind]}/{number:05d}_{hue_names[hue]}.png' for number, (kind, hue) in pairs]


def write(folder, num_images, seed, batch=16):
    """Draw the images and write them into their class folders."""
    kinds, hues = cells(num_images, seed)
    names = image_names(kinds, hues)
    note = PngInfo()
    note.add_text('Software', MADE_BY)
    for index, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        members = np.flatnonzero(kinds == index)
        for chosen in np.split(members, range(batch, len(members), batch)):
            uniforms = [np.random.default_rng((seed, 1, k)).random(len(TRAITS)) for k in chosen]
            for k, pixels in zip(chosen, draw(kind, hues[chosen], np.array(uniforms)), strict=True):
                Image.fromarray(pixels).save(folder / names[k], compress_level=1, pnginfo=note)


def found(folder, names):
    """Whether `folder` holds exactly the images `names`, whole and of this drawing.

    Raises FileExistsError where something else lies there: it is not ours to remove.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise FileExistsError(f'sprites: {folder} is a file; give another folder')
    entries = [path for path in folder.rglob('*') if path.name not in LITTER]
    held = {path.relative_to(folder).as_posix() + '/' * path.is_dir() for path in entries}
    expected = {*names, *(f'{kind}/' for kind in KINDS)}
    other = sorted(held - expected)
    if other:
        raise FileExistsError(
            f'sprites: {folder} holds something else ({other[0]}, {len(other)} in all); '
            'nothing was changed there: give an empty or a new folder'
        )
    if held != expected or not all((folder / name).stat().st_size for name in names):
        return False
    with Image.open(folder / names[0]) as image:
        return image.info.get('Software') == MADE_BY


def put_in_place(new, target, old, names):
    """Move the whole folder `new` to `target`, unless another process was faster."""
    try:
        if target.exists() and not found(target, names):
            target.rename(old)
        if not target.exists():
            new.rename(target)
    except OSError:
        time.sleep(0.2)
        if not found(target, names):
            raise


def check_count(name, value, least):
    """Return `value` as an int, or raise a ValueError that says what was expected."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f'{name}: expected an int of at least {least}, got {value!r}')
    return int(value)


def sprites(num_images: int = 4096, seed: int = 0, folder: str | os.PathLike | None = None) -> str:
    """Draw a folder of 64 x 64 PNG creatures for `torchvision.datasets.ImageFolder`.

    Four kinds (the classes, `KINDS`) times eight hues (`HUES`), every pair equally often to within
    one image; `sprite_labels` reads both back. Image k depends on `seed` and k alone. A second call
    finds the images; they are drawn aside and moved into place whole.

    Parameters:
        num_images: how many, at least 32.
        seed: at least 0.
        folder: where; by default a folder of its own in `data_folder()`.

    Returns the folder's path. Raises ValueError for a wrong number and FileExistsError where
    `folder` holds something else.
    """
    num_images = check_count('num_images', num_images, len(KINDS) * len(HUES))
    seed = check_count('seed', seed, 0)
    if folder is None:
        folder = Path(data_folder()) / f'sprites-v{DRAWING}-{num_images}-seed{seed}'
    target, names = Path(folder).resolve(), image_names(*cells(num_images, seed))
    if not found(target, names):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.sprites-', dir=target.parent) as aside:
            new, old = Path(aside) / 'new', Path(aside) / 'old'
            write(new, num_images, seed)
            put_in_place(new, target, old, names)
    return str(folder)


def sprite_labels(samples) -> tuple[np.ndarray, np.ndarray]:
    """Kind and hue of sprites, read from their paths.

    Parameters: paths, or (path, class) pairs such as an ImageFolder's `samples`.
    Returns two int arrays of shape (N,): indices into `KINDS` and into `list(HUES)`.
    """
    paths = [Path(sample[0] if isinstance(sample, tuple) else sample) for sample in samples]
    hue_names = list(HUES)
    kinds = np.array([KINDS.index(path.parent.name) for path in paths], int)
    return kinds, np.array([hue_names.index(path.stem.split('_')[1]) for path in paths], int)
