"""Drawn creatures, from signed distance fields on the pixel grid (negative inside, in pixels).

`Canvas.paint` turns a field into an antialiased shape. A batch of one kind is drawn at once: every
quantity has shape (N, 1, H, W) or broadcasts to it, and colours have shape (N, 3, 1, 1).

In the drawing functions `c` is the canvas, `t` the traits, `x` and `y` each pixel in the creature's
own coordinates (y down, 0 in the middle), and `side`, the size of `x`, paints left and right at
once.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace as Traits

import numpy as np

Array = np.ndarray
Number = float | Array
Point = Sequence[Number]

DRAWING = 1  # raised whenever a pixel or a kind changes, so that older images are not taken
SIDE = 64
#: Red, green and blue of the sprites, 0 to 255, by the names of their hues.
HUES = {
    'red': (222, 66, 62), 'orange': (245, 143, 50), 'yellow': (250, 214, 72),
    'green': (112, 186, 74), 'teal': (60, 186, 188), 'blue': (72, 112, 222),
    'purple': (142, 86, 194), 'pink': (248, 160, 200),
}  # fmt: skip
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
    'shift_x': (-1.0, 1.0), 'shift_y': (-0.7, 0.7), 'scale': (0.93, 1.0), 'tilt': (-0.08, 0.08),
    'mirror': (-1.0, 1.0), 'shade': (-0.1, 0.12), 'head_w': (15.0, 17.5), 'head_h': (12.5, 14.0),
    'body_w': (9.5, 11.5), 'arm': (-3.5, 2.5), 'length': (0.0, 2.0), 'lean': (-1.0, 1.0),
    'eye_gap': (6.4, 8.2), 'eye_y': (-4.5, -2.5), 'eye_size': (0.85, 1.15), 'look': (-1.0, 1.0),
    'blink': (0.0, 1.0), 'mouth': (0.0, 4.0), 'cheek': (0.4, 0.9), 'marking': (0.0, 1.0),
}  # fmt: skip


def ellipse(x: Array, y: Array, cx: Number, cy: Number, rx: Number, ry: Number) -> Array:
    """Signed distance to an ellipse (center, then radii), nearly exact around its edge."""
    u, v = (x - cx) / rx, (y - cy) / ry
    length = np.sqrt(u * u + v * v)
    u, v = u / rx, v / ry
    return length * (length - 1) / np.sqrt(u * u + v * v + 1e-9)


def capsule(x: Array, y: Array, start: Point, end: Point, r1: Number, r2: Number) -> Array:
    """Signed distance to a line from `start` to `end` whose radius goes from r1 to r2."""
    x, y = x - start[0], y - start[1]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    t = np.clip((x * along_x + y * along_y) / (along_x * along_x + along_y * along_y), 0, 1)
    x, y = x - t * along_x, y - t * along_y
    return np.sqrt(x * x + y * y) - (r1 + t * (r2 - r1))


def curve(x: Array, y: Array, points: Sequence[Point], radii: Point, pieces: int = 5) -> Array:
    """Signed distance to a tapering quadratic Bezier curve (3 points), as a chain of capsules."""
    knots = [k / pieces for k in range(pieces + 1)]
    weights = [((1 - k) ** 2, 2 * k * (1 - k), k * k) for k in knots]
    start, bend, end = points
    path = [[a * start[i] + b * bend[i] + c * end[i] for i in (0, 1)] for a, b, c in weights]
    widths = [radii[0] + k * (radii[1] - radii[0]) for k in knots]
    links = zip(pairwise(path), pairwise(widths), strict=True)
    return np.minimum.reduce([capsule(x, y, *ends, *pair) for ends, pair in links])


def arc(x: Array, y: Array, center: Point, radii: Point, line: float, upper: bool = False) -> Array:
    """Signed distance to the lower (or upper) half of an ellipse's outline."""
    ring = np.abs(ellipse(x, y, *center, *radii)) - line
    return np.maximum(ring, y - center[1] if upper else center[1] - y)


def wing(side: Array, y: Array, lift: Number, reach: Number) -> Array:
    """Signed distance to a bat's wing: a triangle with two bites."""
    tip_x, tip_y = 24 + reach, -7 - lift
    slope_x, slope_y = tip_x - 6, tip_y - 10
    top = (slope_y * (side - 6) - slope_x * (y - 10)) / np.sqrt(slope_x**2 + slope_y**2)
    blade = np.maximum(np.maximum(top, side - tip_x), y - 17)
    outer = ellipse(side, y, tip_x + 2, 6.5, 5, 6.5)
    lower = ellipse(side, y, tip_x - 6, 19.5, 6, 6)
    return np.maximum(blade, -np.minimum(outer, lower))


def curls(x: Array, y: Array, circles: Sequence[Point]) -> Array:
    """Signed distance to a cloud of circles, each (center_x, center_y, radius)."""
    return np.minimum.reduce([ellipse(x, y, a, b, radius, radius) for a, b, radius in circles])


class Canvas:
    """A batch of white images (N, 3, H, W) to paint on, with the colours of each creature."""

    def __init__(self, base: Array) -> None:
        self.pixels = np.ones((len(base), 3, SIDE, SIDE), np.float32)
        self.base, self.light = base, base + 0.62 * (1 - base)
        self.shadow, self.ink, self.dark = base * 0.8, base * 0.27, base * 0.15

    def crop(self, box: tuple[slice, ...]) -> 'Canvas':
        """The same canvas, seen through a window: what lies outside is not worked out."""
        view = copy(self)
        view.pixels = self.pixels[box]
        return view

    def paint(self, distance: Array, color: Array, shown: Number = 1.0, soft: float = 1.0) -> None:
        """Lay `color` where `distance` is negative; the edge is `soft` pixels wide."""
        cover = np.clip(0.5 - distance / soft, 0, 1) * shown
        rows, columns = (np.flatnonzero(cover.max(axis=other)) for other in ((0, 1, 3), (0, 1, 2)))
        if len(rows):
            box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            self.pixels[box] += cover[box] * (color - self.pixels[box])

    def part(self, distance: Array, color: Array, line: float = 1.6) -> None:
        """Lay a shape with an outline around it."""
        self.paint(distance - line, self.ink)
        self.paint(distance, color)


Painter = Callable[[Canvas, Traits, Array, Array], None]
BUTTON, NOSTRILS = (0.0, 3.2, 1.7, 1.1), (1.8, 3.4, 0.8, 0.9)  # center and radii, as in `ellipse`


def bunny_behind(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a round tail and long ears."""
    side, tip = np.abs(x), (8.0 + 2 * t.lean, -22.8 - t.length)
    c.part(ellipse(x, y, 11, 20, 4.2, 4.2), c.light)
    c.part(capsule(side, y, (6.0, -12.0), tip, 4.4, 3.8), c.base)
    c.paint(capsule(side, y, (6.0, -12.0), tip, 2.4, 1.8), c.light)


def cat_behind(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a raised tail and pointed ears."""
    side, tip = np.abs(x), (14.5 + t.lean, -22.0 - t.length)
    c.part(curve(x, y, [(6, 22), (25, 26), (21 + t.lean, 7 - t.length)], (3.0, 2.6)), c.base)
    c.part(capsule(side, y, (9.5, -10.0), tip, 7.0, 0.8), c.base)
    c.paint(capsule(side, y, (9.8, -10.0), tip, 4.4, -0.8), c.light)


def cat_front(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a tabby's stripes on every second one."""
    for stripe, end in ((0, -10.8), (4.6, -12.2)):
        line = capsule(np.abs(x), y, (stripe, -16.5), (stripe, end), 1.1, 0.8)
        c.paint(line, c.ink, shown=t.marking < 0.5)


def dragon_behind(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a pointed tail, wings and golden horns."""
    side, tip = np.abs(x), (11.5 + t.lean, -21.0 - t.length)
    c.part(curve(x, y, [(5, 22.5), (19, 27), (22.5, 16)], (3.6, 0.6)), c.base)
    c.part(wing(side, y, 2 * t.lean, 0.7 * t.length), c.light)
    c.part(capsule(side, y, (7.5, -14.0), tip, 3.2, 0.6), GOLD)


def unicorn_behind(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a curled tail and mane, and ears."""
    locks = [(6, -17, 4.5), (13.5, -13, 5.0), (17.5, -5.5, 5.0), (17.5 + t.lean, 2.5, 4.2)]
    c.part(curls(x, y, [(11, 17, 3.5), (15.5, 18.5, 4.2), (17 + t.lean, 24, 3.2)]), c.light)
    c.part(curls(x, y, locks), c.light)
    c.part(capsule(np.abs(x), y, (11.0, -12.0), (14.0 + t.lean, -18.5), 3.4, 1.0), c.base)


def unicorn_front(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a fringe and a golden horn."""
    c.part(curls(x, y, [(3.5, -15, 3.2), (8.5, -12.5, 2.6)]), c.light, line=1.3)
    c.part(capsule(x, y, (0, -16.0), (1.5 * t.lean, -26.0 - t.length), 3.4, 0.5), GOLD)


@dataclass(frozen=True)
class Kind:
    """What tells one kind from the others; body, eyes and mouth are the same in all."""

    behind: Painter  # what head and body cover: ears, horns, wings, tail
    nose: Sequence[float]  # an ellipse, left and right, from the eyes' height down
    front: Painter | None = None  # what lies on the head, within the window FRONT
    pale_muzzle: bool = False  # on each one, not on every second


#: How each kind is drawn.
CREATURES = {  # a new kind is one more line here; then DRAWING goes up
    'bunny': Kind(bunny_behind, BUTTON),
    'cat': Kind(cat_behind, BUTTON, cat_front),
    'dragon': Kind(dragon_behind, NOSTRILS),
    'unicorn': Kind(unicorn_behind, NOSTRILS, unicorn_front, pale_muzzle=True),
}
#: The kinds of sprites, in the order in which ImageFolder numbers its classes.
KINDS = tuple(sorted(CREATURES))


def draw_body(c: Canvas, t: Traits, x: Array, y: Array, lit: Array) -> None:
    """Paint feet, torso, belly and arms; `lit` is the side the light comes from, -1 or 1."""
    side = np.abs(x)
    torso = ellipse(x, y, 0, 13.5, t.body_w, 11)
    c.part(ellipse(side, y, 5.8, 24.5, 4.8, 3), c.base)
    c.part(torso, c.shadow)
    c.paint(np.maximum(ellipse(x, y, 2 * lit, 11.5, t.body_w - 2, 9), torso), c.base, soft=4)
    c.paint(ellipse(x, y, 0, 16, t.body_w * 0.62, 6.8), c.light)
    hand = (t.body_w + 0.5, 13.5 + t.arm)
    c.part(capsule(side, y, (t.body_w - 1.5, 10.5), hand, 2.2, 2.4), c.base, line=1.3)


def draw_head(c: Canvas, t: Traits, x: Array, y: Array, lit: Array) -> None:
    """Paint the head with its soft light."""
    head = ellipse(x, y, 0, -4.5, t.head_w, t.head_h)
    c.part(head, c.shadow)
    glow = ellipse(x, y, 2 * lit, -6.5, t.head_w - 2, t.head_h - 2)
    c.paint(np.maximum(glow, head), c.base, soft=5)
    shine = ellipse(x, y, 6 * lit, -13, t.head_w * 0.35, 2.5)
    c.paint(shine, c.light, shown=0.55, soft=4)


def draw_face(kind: Kind, c: Canvas, t: Traits, x: Array, y: Array, lit: Array) -> None:
    """Paint muzzle, cheeks, nose, eyes and mouth."""
    side = np.abs(x)
    pale = (t.marking > 0.5) | kind.pale_muzzle
    c.paint(ellipse(x, y, 0, t.eye_y + 6.8, 7.0, 4.6), c.light, shown=pale, soft=1.5)
    cheek = np.minimum(t.eye_gap + 3, 0.62 * t.head_w)
    c.paint(ellipse(side, y, cheek, t.eye_y + 6, 2.8, 1.9), BLUSH, t.cheek, soft=2)
    nose_x, nose_y, *radii = kind.nose
    c.paint(ellipse(side, y, nose_x, t.eye_y + nose_y, *radii), c.ink)
    draw_eyes(c, t, x, y, lit)
    draw_mouth(c, t, x, y)


def draw_eyes(c: Canvas, t: Traits, x: Array, y: Array, lit: Array) -> None:
    """Paint two eyes that look somewhere, or are closed in a smile."""
    side, sign, awake = np.abs(x), np.sign(x), t.blink > 0.12
    wide, high = 3.2 * t.eye_size, 4.2 * t.eye_size
    gaze = t.eye_gap + 0.8 * t.look * sign
    c.paint(ellipse(side, y, t.eye_gap, t.eye_y, wide + 0.8, high + 0.8), WHITE, awake)
    c.paint(ellipse(side, y, gaze, t.eye_y, wide, high), c.dark, awake)
    shine = lit * sign
    c.paint(ellipse(side, y, gaze + 0.9 * shine, t.eye_y - 1.5, 1.7, 1.8), WHITE, awake)
    c.paint(ellipse(side, y, gaze - 1.1 * shine, t.eye_y + 2.0, 1.0, 1.0), c.light, awake)
    closed = arc(side, y, (t.eye_gap, t.eye_y + 1.5), (3.0, 3.0), 0.8, upper=True)
    c.paint(closed, c.dark, ~awake)


def draw_mouth(c: Canvas, t: Traits, x: Array, y: Array) -> None:
    """Paint a smile, an o, a cat's mouth or a laugh with a tongue."""
    mouth_y = t.eye_y + 6
    style = np.floor(t.mouth)
    c.paint(arc(x, y, (0, mouth_y), (3.2, 2.4), 0.7), c.dark, style == 0)
    c.paint(ellipse(x, y, 0, mouth_y + 1.4, 1.9, 2.2), c.dark, style == 1)
    c.paint(arc(np.abs(x), y, (2.0, mouth_y), (2.0, 2.0), 0.7), c.dark, style == 2)
    laugh = np.maximum(ellipse(x, y, 0, mouth_y, 3.8, 4.2), mouth_y - y)
    c.paint(laugh, c.dark, style == 3)
    c.paint(np.maximum(ellipse(x, y, 0, mouth_y + 4, 2.4, 2.2), laugh + 0.8), BLUSH, style == 3)


def draw(kind: str, hues: Array, uniforms: Array) -> Array:
    """Draw N creatures as bytes (N, 64, 64, 3), from hues (N,) and uniforms (N, len(TRAITS))."""
    low, high = np.array(list(TRAITS.values()), np.float32).T
    values = (low + (high - low) * uniforms.astype(np.float32)).T.reshape(-1, len(hues), 1, 1, 1)
    t = Traits(**dict(zip(TRAITS, values, strict=True)))
    base = np.array(list(HUES.values()), np.float32)[hues].reshape(-1, 3, 1, 1) / 255
    base = base + np.abs(t.shade) * ((t.shade > 0) - base)
    c = Canvas(base.astype(np.float32))
    x, y, lit = pose(t)
    part = CREATURES[kind]
    part.behind(c, t, x, y)
    draw_body(c.crop(BODY), t, x[BODY], y[BODY], lit)
    draw_head(c.crop(HEAD), t, x[HEAD], y[HEAD], lit)
    if part.front:
        part.front(c.crop(FRONT), t, x[FRONT], y[FRONT])
    draw_face(part, c.crop(FACE), t, x[FACE], y[FACE], lit)
    return np.rint(c.pixels * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def pose(t: Traits) -> tuple[Array, Array, Array]:
    """Each creature's own coordinates: shifted, tilted, scaled, perhaps mirrored."""
    line = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x, y = line.reshape(1, 1, 1, -1) - t.shift_x, line.reshape(1, 1, -1, 1) - t.shift_y
    cosine = 1 / np.sqrt(1 + t.tilt * t.tilt)  # + - * / and roots: alike on every machine
    sine = t.tilt * cosine
    mirror = np.where(t.mirror < 0, -1, 1).astype(np.float32)
    return mirror * (cosine * x + sine * y) / t.scale, (cosine * y - sine * x) / t.scale, -mirror
