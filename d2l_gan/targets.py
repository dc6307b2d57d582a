"""The distributions in the plane that the lab's generator can be asked to imitate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

GAUSSIAN = torch.tensor([1.0, 2.0]), torch.tensor([[1.01, 1.95], [1.95, 4.25]])  # chapter 1's


@dataclass(frozen=True)
class Target:
    """A distribution in the plane.

    Attributes
    ----------
    words : str, what it is, in a line for the lab's page
    draw : callable, from a number n and a `torch.Generator` to n of its points, shape (n, 2)
    gaussian : tuple of Tensor, mean (2,) and covariance (2, 2), where it is one
    """

    words: str
    draw: Callable[[int, torch.Generator], Tensor]
    gaussian: tuple[Tensor, Tensor] | None = None


def _noise(n: int, scale: float, random: torch.Generator) -> Tensor:
    return scale * torch.randn(n, 2, generator=random)


def _gaussian(n: int, random: torch.Generator) -> Tensor:
    mean, cov = GAUSSIAN
    return _noise(n, 1.0, random) @ torch.linalg.cholesky(cov).T + mean


def _ring(n: int, random: torch.Generator) -> Tensor:
    angle = torch.randint(8, (n,), generator=random) * (2 * math.pi / 8)
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + _noise(n, 0.1, random)


def _grid(n: int, random: torch.Generator) -> Tensor:
    return torch.randint(-2, 3, (n, 2), generator=random) + _noise(n, 0.06, random)


def _moons(n: int, random: torch.Generator) -> Tensor:
    angle = torch.rand(n, generator=random) * math.pi
    upper = torch.rand(n, generator=random) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return 1.5 * torch.stack([x - 0.5, y - 0.25], 1) + _noise(n, 0.1, random)


#: The clouds of points that G can be asked to imitate, by name.
TARGETS: dict[str, Target] = {
    'Gaussian of chapter 1': Target('one long cloud: a linear G can do', _gaussian, GAUSSIAN),
    'ring of eight': Target('eight clouds on a circle of radius 2', _ring),
    '5 x 5 grid': Target('25 small clouds, one unit apart', _grid),
    'two moons': Target('two crescents, each around the tip of the other', _moons),
}
