"""Figures of the notebooks: curves, images, and a figure that grows while a net trains."""

import itertools
import time
from collections.abc import Iterable, Sequence
from io import BytesIO

import numpy as np
import torch
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLE = {
    'axes.prop_cycle': cycler(color=COLOURS),
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#DDDDDD',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'font.size': 10,
    'legend.frameon': False,
    'figure.dpi': 100,
}
FORMATS = ('-', '--', '-.', ':')


def use_svg_display() -> None:
    """Show figures sharply in Jupyter: the book's name, but PNG at twice the resolution.

    SVG carries dates and random names, so that no stored notebook could be compared with a new
    run.
    """
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if _in_notebook():
        set_matplotlib_formats('retina')


def set_figsize(figsize: tuple[float, float] = (3.5, 2.5)) -> None:
    """Make `figsize` (inches) and the course's colours the defaults of the figures to come."""
    use_svg_display()
    plt.rcParams.update(STYLE)
    plt.rcParams['figure.figsize'] = figsize


def set_axes(axes, xlabel, ylabel, xlim, ylim, xscale, yscale, legend) -> None:
    """Label `axes`, set its limits and scales, and show a legend where there is one.

    Limits may be None; equal limits, as a run of one epoch gives, are widened by half a unit.
    """
    for name, label, lim, scale in (('x', xlabel, xlim, xscale), ('y', ylabel, ylim, yscale)):
        if label is not None:
            getattr(axes, f'set_{name}label')(label)
        getattr(axes, f'set_{name}scale')(scale)
        if lim is not None:
            low, high = lim
            if low == high:
                low, high = low - 0.5, high + 0.5
            getattr(axes, f'set_{name}lim')(low, high)
    if legend:
        axes.legend([str(label) for label in legend])


def _curves(values) -> list[np.ndarray]:
    """One array per curve, from one curve or a sequence of curves of numbers or tensors."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray):
        return [values] if values.ndim == 1 else list(values)
    values = [v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v for v in values]
    if all(np.ndim(v) == 0 for v in values):
        return [np.asarray(values, dtype=float)]
    return [np.asarray(v) for v in values]


def plot(
    X,
    Y=None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    legend: Sequence | None = None,
    xlim: Sequence[float] | None = None,
    ylim: Sequence[float] | None = None,
    xscale: str = 'linear',
    yscale: str = 'linear',
    fmts: Sequence[str] = FORMATS,
    figsize: tuple[float, float] = (3.5, 2.5),
    axes: Axes | None = None,
) -> None:
    """Draw any number of curves.

    `X` and `Y` are one curve (a sequence of numbers, array or tensor) or a sequence of curves; one
    `X` serves for all of `Y`, and without `Y` the curves are `X` over 0, 1, 2, ... Line styles
    `fmts` start again when there are more curves than styles.

    Raises ValueError where numbers of curves or their lengths do not match.
    """
    curves_X, curves_Y = (None, _curves(X)) if Y is None else (_curves(X), _curves(Y))
    if curves_X is None:
        curves_X = [np.arange(len(y)) for y in curves_Y]
    elif len(curves_X) == 1:
        curves_X = curves_X * len(curves_Y)
    if len(curves_X) != len(curves_Y):
        raise ValueError(
            f'X must hold one curve or as many as Y ({len(curves_Y)}); got {len(curves_X)}'
        )
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
    imgs: torch.Tensor | np.ndarray | Iterable,
    num_rows: int,
    num_cols: int,
    titles: Sequence[str] | None = None,
    scale: float = 1.5,
) -> np.ndarray:
    """Show the first `num_rows` x `num_cols` images in a grid, `scale` inches each.

    `imgs`: N x H x W x C (or N x H x W for grey) with values in [0, 1], arrays or tensors on any
    device. Returns the axes, a flat array. Raises ValueError where the shape or the range is
    another, or there are fewer images than places.
    """
    imgs = [
        i.detach().cpu().numpy() if isinstance(i, torch.Tensor) else np.asarray(i) for i in imgs
    ]
    places = num_rows * num_cols
    if places < 1 or len(imgs) < places:
        raise ValueError(
            f'num_rows x num_cols = {num_rows} x {num_cols} places need as many images; '
            f'got {len(imgs)}'
        )
    imgs = imgs[:places]
    for img in imgs:
        if img.ndim not in (2, 3) or img.ndim == 3 and img.shape[-1] not in (1, 3, 4):
            raise ValueError(
                'imgs must have shape N x H x W x C with 1, 3 or 4 channels last '
                f'(from N x C x H x W: imgs.permute(0, 2, 3, 1)); got images of shape {img.shape}'
            )
        if not (img.min() >= -1e-3 and img.max() <= 1 + 1e-3):
            raise ValueError(
                'imgs must have values in [0, 1] (from [-1, 1]: imgs / 2 + 0.5; from 0 to 255: '
                f'imgs / 255); got values from {img.min():.3g} to {img.max():.3g}'
            )
    set_figsize((num_cols * scale, num_rows * scale))
    _, axes = plt.subplots(num_rows, num_cols, squeeze=False)
    axes = axes.flatten()
    for i, (ax, img) in enumerate(zip(axes, imgs, strict=True)):
        ax.imshow(np.clip(img, 0, 1), cmap='gray', vmin=0, vmax=1, interpolation='nearest')
        ax.axis('off')
        if titles is not None and i < len(titles):
            ax.set_title(titles[i])
    return axes


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code: a figure shown elsewhere is only its name."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), 'kernel', None) is not None


def _listed(values) -> list:
    """`values` as a list of numbers, one number as a list of one; tensors detached."""
    if isinstance(values, torch.Tensor):
        values = values.detach()
    try:
        values = list(values)
    except TypeError:  # one number
        values = [values]
    return [v.detach() if isinstance(v, torch.Tensor) else v for v in values]


class LiveFigure:
    """A figure as PNG, many times a second: what has not moved is not drawn again.

    What moves are curves, points, arrows and images. A caller had better change these (`set_data`,
    `set_offsets`) than clear the axes and draw again; where anything else has changed, limits or
    labels, the next frame is drawn as a whole.
    """

    def __init__(self, fig: Figure):
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
            artist.axes.draw_artist(artist)
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

    `fig` and `axes` (a flat array of `nrows` x `ncols`) are matplotlib's: the curves are drawn in
    `axes[0]`, the caller draws in the others before `add`. In Jupyter the figure appears with the
    first `add`. It is redrawn as often as a tenth of the time allows, and once more, sharper, when
    the cell ends, however it ends. Outside Jupyter nothing is shown; `fig` can be saved.

    Each frame is drawn by a `LiveFigure`, which says what makes a frame fast.

    Raises ValueError where `xlim` ends before it begins, as `[1, num_epochs]` does without epochs.
    """

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        legend: Sequence | None = None,
        xlim: Sequence[float] | None = None,
        ylim: Sequence[float] | None = None,
        xscale: str = 'linear',
        yscale: str = 'linear',
        fmts: Sequence[str] = FORMATS,
        nrows: int = 1,
        ncols: int = 1,
        figsize: tuple[float, float] = (3.5, 2.5),
    ):
        if xlim is not None and xlim[1] < xlim[0]:
            raise ValueError(
                f'xlim = {list(xlim)} ends before it begins; '
                'if it is [1, num_epochs], then num_epochs must be at least 1'
            )
        set_figsize(figsize)
        width, height = figsize
        self.fig = Figure(figsize=figsize)  # not pyplot's: nothing to close, nothing shown twice
        self.fig.subplots_adjust(
            left=0.6 / width, bottom=0.45 / height, right=1 - 0.15 / width, top=1 - 0.2 / height
        )
        self.axes = self.fig.subplots(nrows, ncols, squeeze=False).flatten()
        self.lines: list[Line2D] = []
        self.legend = legend
        self._live = LiveFigure(self.fig)
        self._fmts = fmts
        self._handle = None
        self._next_frame = 0.0
        set_axes(self.axes[0], xlabel, ylabel, xlim, ylim, xscale, yscale, None)

    def add(self, x, y) -> None:
        """Append the point (`x`, `y`) to every curve: `y` a number, or one per curve.

        `x` may also be one per curve. A curve whose `x` or `y` is None is skipped.
        """
        ys = _listed(y)
        xs = _listed(x)
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
                line.set_data(
                    np.append(line.get_xdata(), float(a)), np.append(line.get_ydata(), float(b))
                )
        self._make_room()
        due = self._handle is None or time.perf_counter() >= self._next_frame
        if due and _in_notebook():
            start = time.perf_counter()
            self._show(self._live.frame())
            self._next_frame = time.perf_counter() + 9 * (time.perf_counter() - start)

    def _plot_lines(self, X, Y) -> None:
        curves = zip(X, Y, itertools.cycle(self._fmts))  # noqa: B905
        self.lines = [self.axes[0].plot(x, y, fmt)[0] for x, y, fmt in curves]
        if self.legend:
            self.axes[0].legend([str(label) for label in self.legend])

    def _make_room(self) -> None:
        """Widen the limits, generously, where a curve's last point lies outside them."""
        ax = self.axes[0]
        (left, right), (low, high) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
        fits = all(
            left <= x <= right and low <= y <= high
            for line in self.lines
            for x, y in line.get_xydata()[-1:]
        )
        if not fits or len(self.lines[0].get_xdata()) < 3:
            self._set_limits(margin=0.4)

    def _set_limits(self, margin: float) -> None:
        self.axes[0].margins(margin)
        self.axes[0].relim()
        self.axes[0].autoscale_view()

    def _show(self, png: bytes) -> None:
        from IPython import get_ipython
        from IPython.display import display

        width, height = (round(100 * inches) for inches in self.fig.get_size_inches())
        data = {'image/png': png, 'text/plain': f'<Figure {width}x{height}>'}
        metadata = {'image/png': {'width': width, 'height': height}}
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
            get_ipython().events.register('post_run_cell', self._finish)
        else:
            self._handle.update(data, metadata=metadata, raw=True)

    def _finish(self, result) -> None:
        """Show the last state, sharper, when the cell has ended, failed or been interrupted."""
        from IPython import get_ipython

        get_ipython().events.unregister('post_run_cell', self._finish)
        self._set_limits(margin=0.05)
        self._show(self._live.whole(dpi=200))
        self._handle = None
