"""Figures of the notebooks: curves, images, and a figure that grows while a net trains."""

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from d2l_gan.device import numpy

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLE: dict[str, Any] = {
    'axes.prop_cycle': cycler(color=COLOURS), 'axes.grid': True, 'axes.axisbelow': True,
    'grid.color': '#DDDDDD', 'axes.spines.top': False, 'axes.spines.right': False,
    'font.size': 10, 'legend.frameon': False, 'figure.dpi': 100,
}  # fmt: skip
FORMATS = ('-', '--', '-.', ':')

Curves = torch.Tensor | np.ndarray | Sequence  # one curve, or several
Points = float | torch.Tensor | np.ndarray | Iterable | None  # one number for all, or one per curve


def use_svg_display() -> None:
    """Show figures sharply in Jupyter: the book's name, but PNG at twice the resolution.

    SVG carries dates and random names: no stored notebook could be compared with a new run.
    """
    if _notebook():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats('retina')


def _notebook() -> Any:
    """The shell of the Jupyter kernel that runs this code; None elsewhere: a figure is its name."""
    from IPython import get_ipython

    return get_ipython() if hasattr(get_ipython(), 'kernel') else None


def set_figsize(figsize: tuple[float, float] = (3.5, 2.5)) -> None:
    """Make `figsize` (inches) and the course's colours the defaults of the figures to come."""
    use_svg_display()
    plt.style.use(STYLE)
    plt.rcParams['figure.figsize'] = figsize


def set_axes(
    axes: Axes, xlabel: str | None, ylabel: str | None, xlim: Sequence[float] | None,
    ylim: Sequence[float] | None, xscale: str, yscale: str, legend: Sequence | None,
) -> None:  # fmt: skip
    """Label `axes`, set its limits and scales, show a legend; None leaves a thing as it is.

    Equal limits, as a run of one epoch gives, are widened by half a unit.
    """
    given: dict[str, Any] = {'xlabel': xlabel, 'ylabel': ylabel, 'xscale': xscale, 'yscale': yscale}
    for name, lim in (('xlim', xlim), ('ylim', ylim)):
        if lim is not None:
            given[name] = (lim[0] - 0.5, lim[0] + 0.5) if lim[0] == lim[1] else lim
    axes.set(**{name: value for name, value in given.items() if value is not None})
    if legend:
        axes.legend([str(label) for label in legend])


def _array(values: Any) -> np.ndarray:
    return numpy(values) if isinstance(values, torch.Tensor) else np.asarray(values)


def _curves(values: Curves) -> list[np.ndarray]:
    """One array per curve, from one curve or a sequence of curves of numbers or tensors."""
    if isinstance(values, torch.Tensor | np.ndarray):
        values = _array(values)
        return [values] if values.ndim == 1 else list(values)
    curves = [_array(v) for v in values]
    return curves if any(c.ndim for c in curves) else [np.array(curves, dtype=float)]


def plot(
    X: Curves, Y: Curves | None = None, xlabel: str | None = None, ylabel: str | None = None,
    legend: Sequence | None = None, xlim: Sequence[float] | None = None,
    ylim: Sequence[float] | None = None, xscale: str = 'linear', yscale: str = 'linear',
    fmts: Sequence[str] = FORMATS, figsize: tuple[float, float] = (3.5, 2.5),
    axes: Axes | None = None,
) -> None:  # fmt: skip
    """Draw curves in `axes`, or in the current ones, which are cleared first.

    Parameters
    ----------
    X, Y : array, tensor, sequence of numbers, or a sequence of these
        One curve or several; one `X` serves for all of `Y`, and without `Y` the curves are `X` over
        0, 1, 2, ... ValueError where their numbers or lengths do not match.
    fmts : sequence of str
        matplotlib's line styles, which start again when there are more curves.
    """
    curves_Y = _curves(X if Y is None else Y)
    curves_X = [np.arange(len(y)) for y in curves_Y] if Y is None else _curves(X)
    if len(curves_X) == 1:
        curves_X = curves_X * len(curves_Y)
    if len(curves_X) != len(curves_Y):
        many = f'one curve or as many as Y ({len(curves_Y)})'
        raise ValueError(f'X must hold {many}; got {len(curves_X)}')
    for i, (x, y) in enumerate(zip(curves_X, curves_Y, strict=True)):
        if len(x) != len(y):
            raise ValueError(f'curve {i}: X and Y must be equally long; got {len(x)} and {len(y)}')
    set_figsize(figsize)
    axes = plt.gca() if axes is None else axes
    axes.cla()
    for x, y, fmt in zip(curves_X, curves_Y, itertools.cycle(fmts)):  # noqa: B905
        axes.plot(x, y, fmt)
    set_axes(axes, xlabel, ylabel, xlim, ylim, xscale, yscale, legend)


def show_images(
    imgs: torch.Tensor | np.ndarray | Iterable, num_rows: int, num_cols: int,
    titles: Sequence[str] | None = None, scale: float = 1.5,
) -> np.ndarray:  # fmt: skip
    """Show the first `num_rows` x `num_cols` images, `scale` inches each; return the axes, flat.

    Parameters
    ----------
    imgs : array, tensor or sequence of these, shape (N, H, W, C), or (N, H, W) for grey, in [0, 1]
        ValueError where shape or range is another, or there are fewer of them than places.
    """
    imgs = [_array(i) for i in imgs]
    if len(imgs) < num_rows * num_cols or num_rows * num_cols < 1:
        places = f'num_rows x num_cols = {num_rows} x {num_cols} places'
        raise ValueError(f'{places} need as many images; got {len(imgs)}')
    imgs = imgs[: num_rows * num_cols]
    for img in imgs:
        if img.ndim not in (2, 3) or img.ndim == 3 and img.shape[-1] not in (1, 3, 4):
            cure = 'from N x C x H x W: imgs.permute(0, 2, 3, 1)'
            wanted = f'shape N x H x W x C with 1, 3 or 4 channels last ({cure})'
            raise ValueError(f'imgs must have {wanted}; got images of shape {img.shape}')
        if not (img.min() >= -1e-3 and img.max() <= 1 + 1e-3):
            cure = 'from [-1, 1]: imgs / 2 + 0.5; from 0 to 255: imgs / 255'
            seen = f'got values from {img.min():.3g} to {img.max():.3g}'
            raise ValueError(f'imgs must have values in [0, 1] ({cure}); {seen}')
    set_figsize((num_cols * scale, num_rows * scale))
    _, axes = plt.subplots(num_rows, num_cols, squeeze=False)
    axes = axes.flatten()
    for i, (ax, img) in enumerate(zip(axes, imgs, strict=True)):
        ax.imshow(np.clip(img, 0, 1), cmap='gray', vmin=0, vmax=1, interpolation='nearest')
        ax.axis('off')
        if titles is not None and i < len(titles):
            ax.set_title(titles[i])
    return axes


def mosaic(images: torch.Tensor, columns: int, zoom: int = 1) -> Image.Image:
    """Images (n, 3, height, width) in [-1, 1] side by side, each pixel `zoom` wide."""
    from torchvision.transforms.functional import to_pil_image  # slow to load
    from torchvision.utils import make_grid

    grid = make_grid(images.detach().cpu() / 2 + 0.5, nrow=columns, padding=0).clamp(0, 1)
    picture = to_pil_image(grid)
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def as_png(picture: Image.Image, compress_level: int = 1) -> bytes:
    """The picture as the bytes of a PNG file."""
    png = BytesIO()
    picture.save(png, 'PNG', compress_level=compress_level)
    return png.getvalue()


def rows_of_images(rows: Mapping[str, torch.Tensor], zoom: int = 2) -> Image.Image:
    """Rows of images (n, 3, height, width) in [-1, 1], each with its name on the left."""
    pictures = {name: mosaic(images, len(images), zoom) for name, images in rows.items()}
    font = ImageFont.truetype(findfont('DejaVu Sans'), 12 * zoom)
    margin = 12 * zoom + max(round(font.getlength(name)) for name in rows)
    width = margin + max(p.width for p in pictures.values())
    whole = Image.new('RGB', (width, sum(p.height for p in pictures.values())), 'white')
    top = 0
    for name, picture in pictures.items():
        middle = (margin - 6 * zoom, top + picture.height // 2)
        ImageDraw.Draw(whole).text(middle, name, 'black', font, anchor='rm')
        whole.paste(picture, (margin, top))
        top += picture.height
    return whole.quantize(128, dither=Image.Dither.NONE)


def show_rows(rows: Mapping[str, torch.Tensor], alt: str) -> None:
    """Show named rows of images (n, 3, height, width) in [-1, 1]; `alt` says what is seen."""
    from IPython.display import Image as Shown
    from IPython.display import display

    display(Shown(as_png(rows_of_images(rows), compress_level=9), alt=alt))


def _numbers(values: Any) -> list[float | None]:
    """One number or None per curve, from one for all or a sequence of them."""
    return [_array(v).item() for v in (values if np.iterable(values) else [values])]


class LiveFigure:
    """A figure as PNG, many times a second: what has not moved is not drawn again.

    What moves are curves, points, arrows and images: change these (`set_data`, `set_offsets`)
    rather than clear the axes. Where anything else has changed, the next frame is drawn as a whole.
    """

    def __init__(self, fig: Figure) -> None:
        self.fig = fig
        self._canvas = FigureCanvasAgg(fig)
        self._background = None

    def frame(self) -> bytes:
        """The figure as it is now, quickly made."""
        moving = [a for ax in self.fig.axes for a in (*ax.images, *ax.collections, *ax.lines)]
        for artist in moving:
            artist.set_animated(True)  # drawn by us: a change of it leaves the rest as it is
        if self._background is None or self.fig.stale:
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self.fig.bbox)
        else:
            self._canvas.restore_region(self._background)
        for artist in sorted(moving, key=lambda artist: artist.zorder):
            artist.draw(self._canvas.get_renderer())
        return self._png(compress_level=1)

    def whole(self, dpi: int) -> bytes:
        """The figure as it is now, each part drawn in its order, at `dpi` dots per inch."""
        self._background = None
        for ax in self.fig.axes:
            for artist in ax.get_children():
                artist.set_animated(False)
        before = self.fig.dpi
        self.fig.set_dpi(dpi)
        self._canvas.draw()
        png = self._png(compress_level=6)
        self.fig.set_dpi(before)
        return png

    def _png(self, compress_level: int) -> bytes:
        png = BytesIO()
        frame = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert('RGB')
        frame.save(png, 'PNG', compress_level=compress_level)
        return png.getvalue()


class Animator:
    """Curves that grow while a loop runs, in one figure that is updated in place.

    In Jupyter the figure appears with the first `add`. It is redrawn as often as a tenth of the
    time allows, and once more, sharper, when the cell ends, however it ends. Outside Jupyter
    nothing is shown; `fig` can be saved. `LiveFigure`, which draws it, says what makes it fast.

    Parameters are those of `plot`. ValueError where `xlim` ends before it begins, as
    `[1, num_epochs]` does without epochs.

    Attributes
    ----------
    fig : Figure
    axes : ndarray of Axes, flat, `nrows` x `ncols` of them
        The curves are drawn in `axes[0]`, the caller draws in the others before `add`.
    """

    def __init__(
        self, xlabel: str | None = None, ylabel: str | None = None, legend: Sequence | None = None,
        xlim: Sequence[float] | None = None, ylim: Sequence[float] | None = None,
        xscale: str = 'linear', yscale: str = 'linear', fmts: Sequence[str] = FORMATS,
        nrows: int = 1, ncols: int = 1, figsize: tuple[float, float] = (3.5, 2.5),
    ) -> None:  # fmt: skip
        if xlim is not None and xlim[1] < xlim[0]:
            cure = 'if it is [1, num_epochs], then num_epochs must be at least 1'
            raise ValueError(f'xlim = {list(xlim)} ends before it begins; {cure}')
        set_figsize(figsize)
        width, height = figsize
        self.fig = Figure(figsize=figsize)  # not pyplot's: nothing to close, nothing shown twice
        self.fig.subplots_adjust(
            left=0.6 / width, bottom=0.45 / height, right=1 - 0.15 / width, top=1 - 0.2 / height
        )
        self.axes = self.fig.subplots(nrows, ncols, squeeze=False).flatten()
        self.lines: list[Line2D] = []
        self._legend, self._fmts = legend, fmts
        self._live, self._handle, self._next_frame = LiveFigure(self.fig), None, 0.0
        set_axes(self.axes[0], xlabel, ylabel, xlim, ylim, xscale, yscale, None)
        if xlabel == 'epoch' and xscale == 'linear':
            self.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

    def add(self, x: Points, y: Points) -> None:
        """Append the point (`x`, `y`) to every curve: a number for all, or one per curve.

        A curve whose `x` or `y` is None is skipped. ValueError where their number is another.
        """
        xs, ys = _numbers(x), _numbers(y)
        if len(xs) == 1:
            xs = xs * len(ys)
        if not self.lines:
            self._plot_lines([[] for _ in ys], [[] for _ in ys])
        if not len(xs) == len(ys) == len(self.lines):
            raise ValueError(f'add takes one y per curve, {len(self.lines)}; got {len(ys)}')
        if self.lines[0].axes is None:  # the caller cleared axes[0]
            self._plot_lines(*zip(*(line.get_data() for line in self.lines), strict=True))
        for line, a, b in zip(self.lines, xs, ys, strict=True):
            if a is not None and b is not None:
                line.set_data(*np.column_stack([np.array(line.get_data()), (a, b)]))
        self._make_room()
        due = self._handle is None or time.perf_counter() >= self._next_frame
        if due and _notebook():
            start = time.perf_counter()
            self._show(self._live.frame())
            self._next_frame = time.perf_counter() + 9 * (time.perf_counter() - start)

    def _plot_lines(self, X: Iterable, Y: Iterable) -> None:
        curves = zip(X, Y, itertools.cycle(self._fmts))  # noqa: B905
        self.lines = [self.axes[0].plot(x, y, fmt)[0] for x, y, fmt in curves]
        if self._legend:
            self.axes[0].legend([str(label) for label in self._legend])

    def _make_room(self) -> None:
        """Widen the limits, generously, where a curve's last point lies outside them."""
        ax = self.axes[0]
        (left, right), (low, high) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
        x, y = np.concatenate([np.asarray(line.get_xydata())[-1:] for line in self.lines]).T
        fits = (left <= x) & (x <= right) & (low <= y) & (y <= high)
        if not fits.all() or len(np.asarray(self.lines[0].get_xdata())) < 3:
            self._set_limits(margin=0.4)

    def _set_limits(self, margin: float) -> None:
        self.axes[0].margins(margin)
        self.axes[0].relim()
        self.axes[0].autoscale_view()

    def _show(self, png: bytes) -> None:
        from IPython.display import display

        width, height = (round(100 * inches) for inches in self.fig.get_size_inches())
        data = {'image/png': png, 'text/plain': f'<Figure {width}x{height}>'}
        metadata = {'image/png': {'width': width, 'height': height}}
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
            _notebook().events.register('post_run_cell', self._finish)
        else:
            self._handle.update(data, metadata=metadata, raw=True)

    def _finish(self, result: object) -> None:
        """Show the last state, sharper, when the cell has ended, failed or been interrupted."""
        _notebook().events.unregister('post_run_cell', self._finish)
        self._set_limits(margin=0.05)
        self._show(self._live.whole(dpi=200))
        self._handle = None
