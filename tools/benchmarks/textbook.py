"""The yardstick: the game as a textbook plays it, plain and unhurried, for `bench.py` to time."""

import torch
from torch import nn


class Animator:
    """Draws the whole figure anew for every point, as SVG, after clearing the cell's output."""

    def __init__(self, xlim, legend):
        from matplotlib import pyplot as plt
        from matplotlib_inline import backend_inline

        backend_inline.set_matplotlib_formats('svg')
        self.fig, self.axes = plt.subplots(2, 1, figsize=(5, 5))
        self.xlim, self.legend, self.X, self.Y = xlim, legend, [], []

    def add(self, x, y):
        from IPython import display

        self.X.append(x)
        self.Y.append(y)
        self.axes[0].cla()
        for curve, style in zip(zip(*self.Y, strict=True), ('-', 'm--'), strict=True):
            self.axes[0].plot(self.X, curve, style)
        self.axes[0].set(xlabel='epoch', ylabel='loss', xlim=self.xlim)
        self.axes[0].legend(self.legend)
        self.axes[0].grid()
        display.display(self.fig)
        display.clear_output(wait=True)


def update_D(X, Z, net_D, net_G, loss, trainer_D):
    """G's graph is built and thrown away, the loss goes back attached."""
    ones, zeros = torch.ones(len(X), device=X.device), torch.zeros(len(X), device=X.device)
    trainer_D.zero_grad()
    real_Y = net_D(X)
    fake_Y = net_D(net_G(Z).detach())
    loss_D = loss(real_Y, ones.reshape(real_Y.shape)) + loss(fake_Y, zeros.reshape(fake_Y.shape))
    loss_D = loss_D / 2
    loss_D.backward()
    trainer_D.step()
    return loss_D


def update_G(Z, net_D, net_G, loss, trainer_G):
    """The fakes are made a second time, and D's gradients are worked out for nobody."""
    trainer_G.zero_grad()
    fake_Y = net_D(net_G(Z))
    loss_G = loss(fake_Y, torch.ones(len(Z), device=Z.device).reshape(fake_Y.shape))
    loss_G.backward()
    trainer_G.step()
    return loss_G


def train(net_D, net_G, data_iter, num_epochs, lrs, latent_shape, betas, device='cpu'):
    """Both chapters' loop: default Adam, both losses turned into floats at every step."""
    loss = nn.BCEWithLogitsLoss(reduction='sum')
    net_D, net_G = net_D.to(device), net_G.to(device)
    for w in [*net_D.parameters(), *net_G.parameters()]:
        nn.init.normal_(w, 0, 0.02)
    trainer_D = torch.optim.Adam(net_D.parameters(), lr=lrs[0], betas=betas)
    trainer_G = torch.optim.Adam(net_G.parameters(), lr=lrs[1], betas=betas)
    sums = [0.0, 0.0, 0]
    for _ in range(num_epochs):
        for X, *_ in data_iter:
            Z = torch.normal(0, 1, size=(len(X), *latent_shape))
            X, Z = X.to(device), Z.to(device)
            sums[0] += float(update_D(X, Z, net_D, net_G, loss, trainer_D).detach())
            sums[1] += float(update_G(Z, net_D, net_G, loss, trainer_G).detach())
            sums[2] += len(X)
    return sums
