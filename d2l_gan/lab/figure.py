"""The picture of the lab: the plane of points on the left, the record of the game on the right."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from torch import Tensor, nn

from d2l_gan.drawing import COLOURS, STYLE, LiveFigure

CURVES = (
    {'loss_D': 'loss of D', 'loss_G': 'loss of G'},
    {'D_real': 'D(x)', 'D_fake': 'D(G(z))'},
    {'KL': 'KL', 'W2': 'W2'},
)


class Painter:
    """The lab's figure: made once, its parts moved for every frame."""

    side = 40  # pixels of the field in each direction
    longest = 0.15  # arrow, as a share of the plane shown

    @rc_context(STYLE)
    def __init__(self, latent_dim: int, device: torch.device):
        self.device = device
        fig = Figure(figsize=(9.6, 4.8), dpi=100)
        places = fig.add_gridspec(
            3, 2, width_ratios=(1.15, 1), left=0.06, right=0.955, bottom=0.1, top=0.94,
            wspace=0.22, hspace=0.25,
        )  # fmt: skip
        self.plane = fig.add_subplot(places[:, 0])
        self.plane.set(xlabel='$x_1$', ylabel='$x_2$')
        self.plane.grid(False)
        tints = LinearSegmentedColormap.from_list('opinion', ['#F2B48C', '#FFFFFF', '#8CBFE2'])
        self.opinion = self.plane.imshow(
            np.zeros((2, 2)), cmap=tints, vmin=0, vmax=1, origin='lower', aspect='auto',
            interpolation='bilinear', zorder=0,
        )  # fmt: skip
        self.real = self.plane.scatter([], [], s=9, color=COLOURS[0], label='real', zorder=2)
        self.fake = self.plane.scatter(
            [], [], s=12, color=COLOURS[1], marker='^', label='generated', zorder=3
        )
        self.arrows: Quiver | None = None
        self.mesh_lines = LineCollection([], colors='black', linewidths=0.6, zorder=1)
        self.plane.add_collection(self.mesh_lines)
        # Beside the field, which would cover it.
        self.plane.legend(loc='lower left', bbox_to_anchor=(0, 0.99), ncols=2)
        self.lines = {}
        self.panels = [fig.add_subplot(places[row, 1]) for row in range(3)]
        for ax, names in zip(self.panels, CURVES, strict=True):
            for (key, label), colour, style in zip(
                names.items(), COLOURS[2:4], ('-', '--'), strict=True
            ):
                self.lines[key] = ax.plot([], [], style, color=colour, label=label)[0]
            ax.legend(loc='upper right', ncols=2, fontsize=8, frameon=True)
        losses, opinions, distances = self.panels
        losses.set_ylim(0, 2)
        losses.axhline(math.log(2), color='black', linestyle=':', linewidth=1)
        losses.text(1.01, math.log(2), 'log 2', transform=losses.get_yaxis_transform(), va='center')
        opinions.set_ylim(0, 1)
        opinions.axhline(0.5, color='black', linestyle=':', linewidth=1)
        distances.set(yscale='log', ylim=(1e-3, 1e2), xlabel='step')
        self.now = [ax.axvline(0, color='#777777', linewidth=1) for ax in self.panels]
        for ax in self.panels[:2]:
            ax.tick_params(labelbottom=False)
        self.live, self.fig = LiveFigure(fig), fig
        self.frame_of: Tensor | None = None
        lines, along = torch.linspace(-2, 2, 9), torch.linspace(-2, 2, 25)
        mesh = torch.cartesian_prod(lines, along).reshape(9, 25, 2)
        self.mesh = torch.cat([mesh, mesh.flip(-1)]).to(device) if latent_dim == 2 else None

    def points(self, real: Tensor, fake: Tensor, pull: Tensor) -> None:
        """Move both clouds, and the arrows: `pull` (n, 2), the gradient at each generated point."""
        if self.frame_of is None or not torch.equal(self.frame_of, real):
            self._frame(real)
        pull, reach = pull * self.width / 2, self.longest * self.width
        pull = pull * (reach / (reach + pull.norm(dim=1, keepdim=True)))  # none is longer
        self.real.set_offsets(real.cpu())
        self.fake.set_offsets(fake.cpu())
        U, V = pull.cpu().numpy().T
        if self.arrows is None or len(U) != self.arrows.N:
            if self.arrows is not None:
                self.arrows.remove()
            self.arrows = self.plane.quiver(
                *fake.cpu().numpy().T, U, V, angles='xy', scale_units='xy', scale=1,
                width=0.003, color='#555555', zorder=2.5,
            )  # fmt: skip
        self.arrows.set_offsets(fake.cpu())
        self.arrows.set_UVC(U, V)

    def _frame(self, real: Tensor) -> None:
        """Choose the part of the plane that is shown, and where the field is asked."""
        self.frame_of = real.clone()
        low, high = real.min(0).values.cpu(), real.max(0).values.cpu()
        middle, half = (low + high) / 2, 0.8 * (high - low).clamp(min=1e-3)
        (x0, y0), (x1, y1) = (middle - half).tolist(), (middle + half).tolist()
        self.width = max(x1 - x0, y1 - y0)
        self.plane.set(xlim=(x0, x1), ylim=(y0, y1))
        self.opinion.set_extent((x0, x1, y0, y1))
        x, y = torch.linspace(x0, x1, self.side), torch.linspace(y0, y1, self.side)
        self.places = torch.cartesian_prod(y, x).flip(-1).to(self.device)

    def field(self, opinion: Callable[[Tensor], Tensor]) -> None:
        """Ask D about every place of the field."""
        self.opinion.set_data(opinion(self.places).reshape(self.side, self.side).cpu().numpy())

    def grid(self, net_G: nn.Module | None) -> None:
        """Send the grid of z through G, or show none."""
        if net_G is None or self.mesh is None:
            self.mesh_lines.set_segments([])
        else:
            bent = net_G(self.mesh.reshape(-1, 2)).reshape(self.mesh.shape)
            self.mesh_lines.set_segments(bent.cpu().numpy())

    def still(self) -> bytes:
        """The figure as PNG; the record fills its panels, since on a page nothing follows."""
        before = self.panels[0].get_xlim()
        last = np.asarray(self.lines['loss_D'].get_xdata(), dtype=float).max(initial=1)
        for ax in self.panels:
            ax.set_xlim(0, last)
        png = self.live.whole(dpi=100)
        for ax in self.panels:
            ax.set_xlim(before)
        return png

    def curves(self, history: Sequence[Mapping[str, float]], at: int) -> None:
        """Draw the record, and mark the moment that is shown."""
        steps = [record['step'] for record in history]
        for key, line in self.lines.items():
            values = np.array([record[key] for record in history])
            line.set_data(steps, np.clip(values, 1e-3, 1e2) if key in ('KL', 'W2') else values)
        for line in self.now:
            line.set_xdata([steps[at]] * 2)
        losses = self.panels[0]
        end, top = losses.get_xlim()[1], losses.get_ylim()[1]
        seen = [record[key] for record in history for key in ('loss_D', 'loss_G')]
        if losses.get_xlim()[0] != 0 or steps[-1] > end:
            for ax in self.panels:
                ax.set_xlim(0, max(100, 2 * steps[-1]))
        if max(seen) > top:
            losses.set_ylim(top=2 * max(seen))
        if min(seen) < losses.get_ylim()[0]:  # the saturating loss is below 0
            losses.set_ylim(bottom=2 * min(seen))
