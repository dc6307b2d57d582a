"""What the two players minimise: a kind of game is one entry of `LOSSES`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def cross_entropy(real_Y: Tensor, fake_Y: Tensor) -> Tensor:
    """D's classic loss: half of -log D(x) and half of -log(1 - D(G(z))), means over a batch."""
    return (nn.functional.softplus(-real_Y).mean() + nn.functional.softplus(fake_Y).mean()) / 2


def non_saturating(fake_Y: Tensor) -> Tensor:
    """G's loss -log D(G(z)), mean over a batch of the fakes' logits."""
    return nn.functional.softplus(-fake_Y).mean()


def saturating(fake_Y: Tensor) -> Tensor:
    """G's loss log(1 - D(G(z))), mean over a batch of the fakes' logits."""
    return -nn.functional.softplus(fake_Y).mean()


def r1_penalty(real_Y: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of the squared norm of D's gradient at real data (Mescheder, 2018).

    `X` must have asked for a gradient before `real_Y = net_D(X)`; the result can be trained on.
    """
    (slope,) = torch.autograd.grad(real_Y.sum(), X, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


def pair_loss(winner_Y: torch.Tensor, loser_Y: torch.Tensor) -> torch.Tensor:
    """Mean over pairs of -log sigmoid(winner - loser), logits (Jolicoeur-Martineau, 2019)."""
    return nn.functional.softplus(loser_Y - winner_Y).mean()


@dataclass(frozen=True)
class Loss:
    """What each player minimises, and how D's logits are then to be read.

    Attributes
    ----------
    words : str, what it is, in a line for the lab's page
    D, G : callable, from the logits of the real and the fake points (of one shape) to the mean loss
    compares : bool, whether only differences between logits mean something
    gamma : float, weight of the R1 penalty that goes with it in the lab, 0 for none
    """

    words: str
    D: Callable[[Tensor, Tensor], Tensor]
    G: Callable[[Tensor, Tensor], Tensor]
    compares: bool = False
    gamma: float = 0.0

    def opinion(self, Y: Tensor, others: Tensor) -> Tensor:
        """D's opinion, 0 for fake to 1 for real, of points with logits `Y`, beside `others`."""
        return (Y - others if self.compares else Y).sigmoid()


#: The losses of the lab, by name.
LOSSES: dict[str, Loss] = {
    'non-saturating': Loss(
        "G minimises -log D(G(z)), chapter 1's way",
        cross_entropy, G=lambda real_Y, fake_Y: non_saturating(fake_Y),
    ),
    'saturating': Loss(
        'G minimises log(1 - D(G(z))): no gradient where D is sure',
        cross_entropy, G=lambda real_Y, fake_Y: saturating(fake_Y),
    ),
    'relativistic + R1': Loss(
        'each fake is compared with a real point, and D is kept flat near those',
        pair_loss, G=lambda real_Y, fake_Y: pair_loss(fake_Y, real_Y), compares=True, gamma=0.1,
    ),
}  # fmt: skip
