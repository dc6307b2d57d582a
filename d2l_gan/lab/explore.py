"""Widgets of chapter 2: shapes of convolutions, leaky ReLU, latent space, a run's snapshots."""

import threading
from collections.abc import Callable, Sequence
from io import BytesIO

import ipywidgets as widgets
import numpy as np
import torch
import torchvision
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from d2l_gan.drawing import COLOURS, STYLE, LiveFigure
from d2l_gan.lab.controls import Picture, alert, button, choice, slider, status
from d2l_gan.measures import at_rest


class Explorer(widgets.VBox):
    """Controls above a picture that follows them; a still picture where no kernel runs."""

    def __init__(self, controls: dict[str, widgets.Widget], width: int, height: int, words: str):
        self.controls, self._busy = controls, threading.RLock()
        self.text = widgets.HTML(layout={'min_height': '2.5em'})
        self.picture = Picture(width, height, words)
        super().__init__([*controls.values(), self.text, self.picture])
        for control in controls.values():
            if not isinstance(control, widgets.Button):
                control.observe(lambda _: self.update(), 'value')
        self.update()

    def update(self) -> None:
        """Make the picture and the text what the controls say."""
        with self._busy:  # the page's messages may come on another thread than the cells'
            try:
                self.picture.value = self._draw(**self._values())
            except Exception as error:
                self.text.value = alert(error)

    def _values(self) -> dict:
        """What the controls say, by name."""
        return {name: c.value for name, c in self.controls.items() if hasattr(c, 'value')}

    def _draw(self, **values) -> bytes:
        """The picture as PNG."""
        raise NotImplementedError

    def _say(self, text: str) -> None:
        """Put `text`, which may be HTML, above the picture."""
        self.text.value = status(text)

    def _repr_mimebundle_(self, **kwargs) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        if not self.picture.value:  # nothing could be drawn, and the text says why
            return bundle | {'text/plain': type(self).__name__}
        small = as_png(Image.open(BytesIO(self.picture.value)).quantize(128), compress_level=9)
        return bundle | {'image/png': small, 'text/plain': type(self).__name__}


LAYERS = {
    'convolution': 'the discriminator makes images smaller',
    'transposed convolution': 'the generator makes them larger',
}


class ShapeLab(Explorer):
    """Which inputs meet which outputs in a convolution and its transpose, along one axis.

    Controls: `layer`, and the side `n`, `kernel`, `stride` and `padding`. `side` is the
    output's side, by the formula; `layer_side` the one of PyTorch's own layer, None where it
    refuses.
    """

    def __init__(self, n: int = 8, kernel: int = 4, stride: int = 2, padding: int = 1):
        self._fig = Figure(figsize=(9, 2.6), dpi=100)
        self._live = LiveFigure(self._fig)
        controls = {
            'layer': choice(LAYERS, 'layer', 'which of the two'),
            'n': slider(n, 1, 32, 'input side n', 'pixels in one direction'),
            'kernel': slider(kernel, 1, 8, 'kernel k', 'pixels that one output sees'),
            'stride': slider(stride, 1, 4, 'stride s', 'pixels from one kernel to the next'),
            'padding': slider(padding, 0, 4, 'padding p', 'zeros added, or pixels cut, per side'),
        }  # fmt: skip
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
        self.layer_side = self._ask_pytorch(transposed, n, kernel, stride, padding)
        if self.side < 1:
            self._say(
                f'{formula} = {self.side}: <b>nothing is left</b>. Smaller kernel, or padding?'
            )
        else:
            self._say(f"{formula} = <b>{self.side}</b>. PyTorch's layer gives {self.layer_side}.")
        small, large = (n, self.side) if transposed else (self.side, n)
        self._fig.clear()
        ax = self._fig.add_axes((0.08, 0.02, 0.9, 0.96))
        ax.axis('off')
        ax.set(ylim=(-0.35, 1.35))
        low, top = ('input', 'output') if transposed else ('output', 'input')
        ax.text(-0.06, 1, top, transform=ax.get_yaxis_transform(), va='center')
        ax.text(-0.06, 0, low, transform=ax.get_yaxis_transform(), va='center')
        ax.set_xlim(-padding - 0.6, max(large + padding, kernel) - 0.4)
        self._row(ax, np.arange(large), 1, COLOURS[0])
        self._row(ax, np.r_[-padding:0, large : large + padding], 1, '#CCCCCC')
        if small > 0:
            centres = np.arange(small) * stride - padding + (kernel - 1) / 2
            self._row(ax, centres, 0, COLOURS[1])
            for i, centre in enumerate(centres):
                chosen = i == small // 2
                for place in range(kernel):
                    ax.plot(
                        [centre, i * stride - padding + place], [0.13, 0.87],
                        color='black' if chosen else '#BBBBBB', linewidth=1.6 if chosen else 0.6,
                        zorder=2 if chosen else 1,
                    )  # fmt: skip
        return self._live.whole(dpi=100)

    @staticmethod
    def _row(ax, places, height: float, colour: str) -> None:
        ax.scatter(places, np.full(len(places), height), marker='s', s=90, color=colour, zorder=3)

    @staticmethod
    def _ask_pytorch(transposed, n, kernel, stride, padding) -> int | None:
        kind = nn.ConvTranspose1d if transposed else nn.Conv1d
        try:
            with torch.no_grad(), torch.random.fork_rng():  # a new layer draws its weights
                return kind(1, 1, kernel, stride, padding)(torch.zeros(1, 1, n)).shape[-1]
        except RuntimeError:
            return None


class LeakyReLULab(Explorer):
    """Leaky ReLU and its gradient, for an `alpha` that you choose."""

    def __init__(self, alpha: float = 0.2):
        with rc_context(STYLE):
            fig = Figure(figsize=(8, 3), dpi=100)
            axes = fig.subplots(1, 2)
            fig.subplots_adjust(left=0.08, right=0.98, bottom=0.16, top=0.9, wspace=0.25)
            for ax, title in zip(axes, ('leaky ReLU', 'its gradient'), strict=True):
                ax.set(title=title, xlabel='x', xlim=(-2, 1), ylim=(-2.1, 1.2))
        axes[1].set_ylim(-0.1, 1.2)
        self.x = torch.linspace(-2, 1, 301)
        self._lines = [ax.plot([], [], color=COLOURS[0])[0] for ax in axes]
        self._live = LiveFigure(fig)
        control = slider(alpha, 0.0, 1.0, 'alpha', 'slope on the left of 0', 0.05)
        super().__init__({'alpha': control}, 800, 300, 'leaky ReLU, and its gradient beside it')

    def _draw(self, alpha: float) -> bytes:
        x = self.x.clone().requires_grad_()
        y = nn.functional.leaky_relu(x, alpha)
        (slope,) = torch.autograd.grad(y.sum(), x)
        for line, values in zip(self._lines, (y.detach(), slope), strict=True):
            line.set_data(self.x.numpy(), values.numpy())
        dead = 'a unit there is dead' if alpha == 0 else 'a unit there can come back'
        self._say(f'left of 0 the gradient is {alpha:.2f}: {dead}')
        return self._live.whole(dpi=100)


def mosaic(images: Tensor, columns: int, zoom: int = 1) -> Image.Image:
    """Images (n, 3, height, width) in [-1, 1] side by side, each pixel `zoom` wide."""
    grid = torchvision.utils.make_grid(images.detach().cpu(), nrow=columns, padding=0)
    picture = torchvision.transforms.functional.to_pil_image((grid / 2 + 0.5).clamp(0, 1))
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.NEAREST)


def as_png(picture: Image.Image, compress_level: int = 1) -> bytes:
    """The picture as the bytes of a PNG file."""
    png = BytesIO()
    picture.save(png, 'PNG', compress_level=compress_level)
    return png.getvalue()


class LatentExplorer(Explorer):
    """Walk through the noise of a generator: between two anchors, and along single directions.

    Parameters
        net_G: noise (n, latent_dim, 1, 1) to images (n, 3, height, width) in [-1, 1].
        latent_dim: the length of a noise vector.
        training: images (m, 3, height, width) in [-1, 1] to look for relatives in, or None.

    The large image is G(z), beside it the four training images that are nearest to it, once asked
    for. z lies on the arc between the anchors (White, 2016), moved by `amount` along one direction,
    and shortened by `truncation`: less variety, safer images (Brock et al., 2019).
    """

    def __init__(
        self,
        net_G: Callable[[Tensor], Tensor],
        latent_dim: int,
        training: Tensor | None = None,
        seed: int = 0,
    ):
        self.net_G, self.latent_dim, self.training = net_G, latent_dim, training
        if training is not None:
            self._squares = torch.stack([X.flatten().dot(X.flatten()) for X in training])
        self._device = next(net_G.parameters()).device
        self._random = torch.Generator().manual_seed(seed)
        self.anchors = self._new_anchors()
        self.wants_relatives = False
        controls = {
            'position': slider(0.0, 0.0, 1.0, 'position', '0 and 1 are the two anchors', 0.02),
            'direction': slider(0, 0, latent_dim - 1, 'direction', 'which coordinate of z to move'),
            'amount': slider(0.0, -4.0, 4.0, 'amount', 'how far to move along it', 0.1),
            'truncation': slider(1.0, 0.0, 1.5, 'truncation', 'length of z, as a share', 0.05),
            'surprise': button('surprise me', 'two new anchors', self.surprise),
            'relatives': button(
                'nearest training images', 'what is it most like?', self.find_relatives, '16em'
            ),
        }
        controls['relatives'].disabled = training is None
        words = 'what the generator draws, and beside it its nearest training images'
        super().__init__(controls, 640, 256, words)

    def _new_anchors(self) -> Tensor:
        return torch.randn(2, self.latent_dim, generator=self._random)

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

    def _draw(self, **values) -> bytes:
        z = self.latent(**values)
        with torch.no_grad(), at_rest(self.net_G):  # one image has no batch statistics
            Z = z.reshape(1, -1, 1, 1).to(self._device)
            self.image = self.net_G(Z).float().cpu()[0]
        self._say(
            f'coordinate {values["direction"]} of z moved by {values["amount"]:.1f}; '
            f'|z| = {z.norm():.1f}, and a random z has about {self.latent_dim**0.5:.1f}'
        )
        square = (256, 256)
        canvas = Image.new('RGB', (640, 256), 'white')
        canvas.paste(mosaic(self.image[None], 1).resize(square, Image.NEAREST), (0, 0))
        if self.wants_relatives:
            self.wants_relatives = False  # of this image, not of the next
            # |a - b|^2 = |a|^2 - 2 a b + |b|^2, of which the last is the same for all
            distance = self._squares - 2 * self.training.flatten(1) @ self.image.flatten()
            nearest = distance.topk(min(4, len(distance)), largest=False).indices
            four = mosaic(self.training[nearest], 2)
            canvas.paste(four.resize(square, Image.NEAREST), (288, 0))
        return as_png(canvas)

    def surprise(self) -> None:
        """Draw two new anchors."""
        self.anchors = self._new_anchors()
        self.update()

    def find_relatives(self) -> None:
        """Show the four training images that are nearest to the one shown."""
        self.wants_relatives = True
        self.update()


class TimeMachine(Explorer):
    """How the same noise was drawn over a run: a slider over its snapshots.

    `snapshots`: for each epoch images (n, 3, height, width) in [-1, 1] of the same n draws.
    """

    def __init__(self, snapshots: Sequence[Tensor], columns: int = 8):
        self.snapshots, self._columns = list(snapshots), columns
        _, _, height, width = self.snapshots[0].shape
        rows = -(-len(self.snapshots[0]) // columns)
        last = len(self.snapshots)
        control = slider(last, 1, last, 'epoch', 'go back in the run')
        words = 'what the generator drew from the same noise'
        super().__init__({'epoch': control}, columns * width * 2, rows * height * 2, words)

    def _draw(self, epoch: int) -> bytes:
        self._say(f'after epoch {epoch} of {len(self.snapshots)}')
        return as_png(mosaic(self.snapshots[epoch - 1], self._columns, zoom=2))
