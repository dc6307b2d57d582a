"""Widgets of chapter 2: shapes of convolutions, leaky ReLU, latent space, a run's snapshots."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from d2l_gan.drawing import COLOURS, STYLE, LiveFigure, as_png, mosaic
from d2l_gan.lab.controls import Shown, alert, button, choice, picture, slider, status
from d2l_gan.steps import at_rest


class Explorer(Shown):
    """Controls above a picture that follows them; a still picture where no kernel runs."""

    _draw: Callable[..., bytes]  # a subclass's: from the controls' values by name to a PNG

    def __init__(self, controls: dict[str, widgets.Widget], width: int, height: int, words: str):
        self.controls, self._busy = controls, threading.RLock()
        self.text = widgets.HTML(layout={'min_height': '2.5em'})
        self.picture = picture(width, height, words)
        super().__init__([*controls.values(), self.text, self.picture])
        for control in controls.values():
            if not isinstance(control, widgets.Button):
                control.observe(lambda _: self.update(), 'value')
        self.update()

    def update(self) -> None:
        """Make the picture and the text what the controls say."""
        with self._busy:  # the page's messages may come on another thread than the cells'
            try:
                self.picture.value = self.drawn()
            except Exception as error:
                self.text.value = alert(error)

    def drawn(self) -> bytes:
        """What the controls say, as PNG."""
        values = {name: c.value for name, c in self.controls.items() if hasattr(c, 'value')}
        return self._draw(**values)

    def still(self) -> bytes | None:
        """The picture as it is now, small, as PNG; None where nothing could be drawn."""
        png = self.picture.value
        return as_png(Image.open(BytesIO(png)).quantize(128), compress_level=9) if png else None


LAYERS = {
    'convolution': 'the discriminator makes images smaller',
    'transposed convolution': 'the generator makes them larger',
}


class ShapeLab(Explorer):
    """Which inputs meet which outputs in a convolution and its transpose, along one axis.

    Parameters
    ----------
    n : int, pixels of the input at first, 1 to 32
    kernel : int, of the layer at first, 1 to 8
    stride : int, 1 to 4
    padding : int, 0 to 4

    Attributes
    ----------
    side : int, the output's by the formula
    layer_side : int, the output's by PyTorch's own layer, None where it has none
    """

    def __init__(self, n: int = 8, kernel: int = 4, stride: int = 2, padding: int = 1):
        self.fig = Figure(figsize=(9, 2.6), dpi=100)
        self.live = LiveFigure(self.fig)
        controls = {
            'layer': choice('layer', 'which of the two', LAYERS),
            'n': slider('input side n', 'pixels in one direction', n, 1, 32),
            'kernel': slider('kernel k', 'pixels that one output sees', kernel, 1, 8),
            'stride': slider('stride s', 'pixels from one kernel to the next', stride, 1, 4),
            'padding': slider('padding p', 'zeros added, or pixels cut, per side', padding, 0, 4),
        }
        super().__init__(controls, 900, 260, 'which inputs meet which outputs')

    @rc_context(STYLE)
    def _draw(self, layer: str, n: int, kernel: int, stride: int, padding: int) -> bytes:
        transposed = layer == 'transposed convolution'
        if transposed:
            self.side = stride * (n - 1) + kernel - 2 * padding
            formula = f"n' = s(n - 1) + k - 2p = {stride} x {n - 1} + {kernel} - {2 * padding}"
        else:
            self.side = (n - kernel + 2 * padding + stride) // stride
            top = f'({n} - {kernel} + {2 * padding} + {stride})'
            formula = f"n' = floor((n - k + 2p + s) / s) = floor({top} / {stride})"
        kind = nn.ConvTranspose1d if transposed else nn.Conv1d
        self.layer_side = None
        with suppress(RuntimeError), torch.no_grad(), torch.random.fork_rng():  # it draws weights
            self.layer_side = kind(1, 1, kernel, stride, padding)(torch.zeros(1, 1, n)).shape[-1]
        given = f"<b>{self.side}</b>. PyTorch's layer gives {self.layer_side}."
        nothing = f'{self.side}: <b>nothing is left</b>. Smaller kernel, or padding?'
        self.text.value = status(f'{formula} = {nothing if self.side < 1 else given}')
        small, large = (n, self.side) if transposed else (self.side, n)
        self.fig.clear()
        ax = self.fig.add_axes((0.08, 0.02, 0.9, 0.96))
        ax.axis('off')
        ax.set(ylim=(-0.35, 1.35), xlim=(-padding - 0.6, max(large + padding, kernel) - 0.4))
        for height, end in enumerate(('input', 'output') if transposed else ('output', 'input')):
            ax.text(-0.06, height, end, transform=ax.get_yaxis_transform(), va='center')
        row: dict[str, Any] = {'marker': 's', 's': 90, 'zorder': 3}
        ax.scatter(range(large), [1] * large, color=COLOURS[0], **row)
        ax.scatter(
            np.r_[-padding:0, large : large + padding], [1] * 2 * padding, color='#CCCCCC', **row
        )
        for i in range(small):
            ends = np.arange(kernel) + i * stride - padding
            color, width, order = ('black', 1.6, 2) if i == small // 2 else ('#BBBBBB', 0.6, 1)
            ax.scatter(ends.mean(), 0, color=COLOURS[1], **row)
            for pixel in ends:
                line = [ends.mean(), pixel], [0.13, 0.87]
                ax.plot(*line, color=color, linewidth=width, zorder=order)
        return self.live.whole(dpi=100)


class LeakyReLULab(Explorer):
    """Leaky ReLU and its gradient, for an `alpha` from 0 to 1 that you choose."""

    def __init__(self, alpha: float = 0.2):
        with rc_context(STYLE):
            fig = Figure(figsize=(8, 3), dpi=100)
            axes = fig.subplots(1, 2)
            fig.subplots_adjust(left=0.08, right=0.98, bottom=0.16, top=0.9, wspace=0.25)
            for ax, title, low in zip(
                axes, ('leaky ReLU', 'its gradient'), (-2.1, -0.1), strict=True
            ):
                ax.set(title=title, xlabel='x', xlim=(-2, 1), ylim=(low, 1.2))
        self.x = torch.linspace(-2, 1, 301)
        self.lines = [ax.plot([], [], color=COLOURS[0])[0] for ax in axes]
        self.live = LiveFigure(fig)
        control = slider('alpha', 'slope on the left of 0', alpha, 0, 1, step=0.05)
        super().__init__({'alpha': control}, 800, 300, 'leaky ReLU, and its gradient beside it')

    def _draw(self, alpha: float) -> bytes:
        x = self.x.clone().requires_grad_()
        y = nn.functional.leaky_relu(x, alpha)
        (slope,) = torch.autograd.grad(y.sum(), x)
        for line, values in zip(self.lines, (y.detach(), slope), strict=True):
            line.set_data(self.x.numpy(), values.numpy())
        dead = 'a unit there is dead' if alpha == 0 else 'a unit there can come back'
        self.text.value = status(f'left of 0 the gradient is {alpha:.2f}: {dead}')
        return self.live.whole(dpi=100)


class LatentExplorer(Explorer):
    """Walk through the noise of a generator: between two anchors, and along single directions.

    The large image is G(z), beside it the four training images that are nearest to it, once asked
    for. z lies on the arc between the anchors (White, 2016), moved by `amount` along one direction,
    and shortened by `truncation`: less variety, safer images (Brock et al., 2019).

    Parameters
    ----------
    net_G : nn.Module, noise (n, latent_dim, 1, 1) to images (n, 3, height, width) in [-1, 1]
    latent_dim : int, the length of a noise vector
    training : Tensor, shape (m, 3, height, width), in [-1, 1], to look for relatives in, optional
    seed : int, of the anchors
    """

    def __init__(
        self, net_G: nn.Module, latent_dim: int, training: Tensor | None = None, seed: int = 0
    ):
        self.net_G, self.latent_dim, self.training = net_G, latent_dim, training
        if training is not None:
            self._squares = torch.stack([X.flatten().dot(X.flatten()) for X in training])
        self._device = next(net_G.parameters()).device
        self._random = torch.Generator().manual_seed(seed)
        self.anchors = torch.randn(2, latent_dim, generator=self._random)
        self.wants_relatives = False
        controls = {
            'position': slider('position', '0 and 1 are anchors', 0, 0, 1, step=0.02),
            'direction': slider('direction', 'the coordinate of z to move', 0, 0, latent_dim - 1),
            'amount': slider('amount', 'how far to move along it', 0, -4, 4, step=0.1),
            'truncation': slider('truncation', 'length of z', 1, 0, 1.5, step=0.05),
            'surprise': button('surprise me', 'two new anchors', self.surprise),
            'relatives': button(
                'nearest training images', 'what is it most like?', self.find_relatives, '16em'
            ),
        }
        controls['relatives'].disabled = training is None
        words = 'what the generator draws, and beside it its nearest training images'
        super().__init__(controls, 640, 256, words)

    def latent(self, position: float, direction: int, amount: float, truncation: float) -> Tensor:
        """The noise vector (latent_dim,) that the controls describe."""
        one, other = self.anchors
        theta = torch.arccos((one * other).sum() / (one.norm() * other.norm()))
        ends = torch.sin((1 - position) * theta) * one + torch.sin(position * theta) * other
        z = ends / torch.sin(theta)
        if not z.isfinite().all():  # both anchors in one line
            z = one.lerp(other, position)
        z[direction] += amount
        return truncation * z

    def _draw(self, **values: Any) -> bytes:
        z = self.latent(**values)
        with torch.no_grad(), at_rest(self.net_G):  # one image has no batch statistics
            Z = z.reshape(1, -1, 1, 1).to(self._device)
            self.image = self.net_G(Z).float().cpu()[0]
        self.text.value = status(
            f'coordinate {values["direction"]} of z moved by {values["amount"]:.1f}; '
            f'|z| = {z.norm():.1f}, and a random z has about {self.latent_dim**0.5:.1f}'
        )
        square = (256, 256)
        canvas = Image.new('RGB', (640, 256), 'white')
        canvas.paste(mosaic(self.image[None], 1).resize(square, Image.Resampling.NEAREST), (0, 0))
        if self.wants_relatives and self.training is not None:
            self.wants_relatives = False  # of this image, not of the next
            # |a - b|^2 = |a|^2 - 2 a b + |b|^2, of which the last is the same for all
            distance = self._squares - 2 * self.training.flatten(1) @ self.image.flatten()
            nearest = distance.topk(min(4, len(distance)), largest=False).indices
            four = mosaic(self.training[nearest], 2)
            canvas.paste(four.resize(square, Image.Resampling.NEAREST), (288, 0))
        return as_png(canvas)

    def still(self) -> bytes | None:
        """The creature and its relatives, for which nobody can ask on a page."""
        with self._busy:
            before, self.wants_relatives = self.picture.value, True
            self.update()
            png = super().still()
            self.picture.value = before
        return png

    def surprise(self) -> None:
        """Draw two new anchors."""
        self.anchors = torch.randn(2, self.latent_dim, generator=self._random)
        self.update()

    def find_relatives(self) -> None:
        """Show the four training images that are nearest to the one shown."""
        self.wants_relatives = True
        self.update()


class TimeMachine(Explorer):
    """How the same noise was drawn over a run: a slider over its snapshots.

    Parameters
    ----------
    snapshots : sequence of Tensor, an epoch each, (n, 3, height, width) in [-1, 1], of equal draws
    columns : int, images in a row
    """

    def __init__(self, snapshots: Sequence[Tensor], columns: int = 8):
        self.snapshots, self._columns = list(snapshots), columns
        _, _, height, width = self.snapshots[0].shape
        rows, last = -(-len(self.snapshots[0]) // columns), len(self.snapshots)
        control = slider('epoch', 'go back in the run', last, 1, last)
        words = 'what the generator drew from the same noise'
        super().__init__({'epoch': control}, columns * width * 2, rows * height * 2, words)

    def _draw(self, epoch: int) -> bytes:
        self.text.value = status(f'after epoch {epoch} of {len(self.snapshots)}')
        return as_png(mosaic(self.snapshots[epoch - 1], self._columns, zoom=2))
