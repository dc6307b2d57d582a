"""Networks, games and their weights: for the tests of the game and of its page."""

import torch
from torch import nn

from d2l_gan.targets import GAUSSIAN


def linear_nets():
    net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    return net_D, nn.Sequential(nn.Linear(2, 2))


def deep_nets(hidden=64):
    def net(outputs):
        return nn.Sequential(
            nn.Linear(2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, outputs),
        )  # fmt: skip

    return net(1), net(2)


def make(kind, nets=linear_nets, init=0, **settings):
    """A `d2l.Game` or a `d2l.GANLab` on chapter 1's Gaussian."""
    torch.manual_seed(init)
    net_D, net_G = nets()
    mean, cov = GAUSSIAN
    data = torch.randn(400, 2) @ torch.linalg.cholesky(cov).T + mean
    return kind(net_D, net_G, data, **settings)


def weights(game):
    return torch.cat(
        [w.detach().flatten() for net in (game.net_D, game.net_G) for w in net.parameters()]
    )
