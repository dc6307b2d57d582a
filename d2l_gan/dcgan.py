"""Chapter 2's networks, their remedies and its step, word for word, for runs outside of it."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from d2l_gan.distances import filled_cells
from d2l_gan.losses import r1_penalty


class G_block(nn.Module):
    def __init__(self, out_channels, in_channels=3, kernel_size=4, strides=2, padding=1):
        super().__init__()
        self.conv2d_trans = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size, strides, padding, bias=False
        )
        self.batch_norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU()

    def forward(self, X):
        return self.activation(self.batch_norm(self.conv2d_trans(X)))


class D_block(nn.Module):
    def __init__(self, out_channels, in_channels=3, kernel_size=4, strides=2, padding=1, alpha=0.2):
        super().__init__()
        self.conv2d = nn.Conv2d(
            in_channels, out_channels, kernel_size, strides, padding, bias=False
        )
        self.batch_norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(alpha, inplace=True)

    def forward(self, X):
        return self.activation(self.batch_norm(self.conv2d(X)))


def make_G(latent_dim: int, n_G: int) -> nn.Sequential:
    """The chapter's `net_G`: noise (batch, latent_dim, 1, 1) to images (batch, 3, 64, 64)."""
    return nn.Sequential(
        G_block(in_channels=latent_dim, out_channels=n_G * 8, strides=1, padding=0),
        G_block(in_channels=n_G * 8, out_channels=n_G * 4),
        G_block(in_channels=n_G * 4, out_channels=n_G * 2),
        G_block(in_channels=n_G * 2, out_channels=n_G),
        nn.ConvTranspose2d(n_G, 3, kernel_size=4, stride=2, padding=1, bias=False),
        nn.Tanh(),
    )


def make_D(n_D: int) -> nn.Sequential:
    """The chapter's `net_D`: images (batch, 3, 64, 64) to logits (batch, 1, 1, 1)."""
    return nn.Sequential(
        D_block(n_D),
        D_block(in_channels=n_D, out_channels=n_D * 2),
        D_block(in_channels=n_D * 2, out_channels=n_D * 4),
        D_block(in_channels=n_D * 4, out_channels=n_D * 8),
        nn.Conv2d(n_D * 8, 1, kernel_size=4, bias=False),
    )


class Smooth(nn.Module):
    """A 4 x 4 kernel out of a 3 x 3 one: nearest neighbour, then a convolution, in one."""

    def forward(self, W3):
        pad = nn.functional.pad
        taller = pad(W3, (0, 0, 0, 1)) + pad(W3, (0, 0, 1, 0))
        return pad(taller, (0, 1, 0, 0)) + pad(taller, (1, 0, 0, 0))

    def right_inverse(self, W4):
        return W4[..., :3, :3] * 2 / 3  # the start: He's variance for 9 terms in place of 4


def smooth_kernels(net_G):
    for layer in net_G.modules():
        if isinstance(layer, nn.ConvTranspose2d) and layer.stride == (2, 2):
            parametrize.register_parametrization(layer, 'weight', Smooth())


def free_first_block(net_D):
    block, old = net_D[0], net_D[0].conv2d
    block.batch_norm = nn.Identity()
    block.conv2d = nn.Conv2d(3, old.out_channels, old.kernel_size, old.stride, old.padding)
    block.conv2d.weight.data = old.weight.data
    nn.init.zeros_(block.conv2d.bias)


def play(X, fake_X, net_D, net_G, trainer_D, trainer_G, loss, gamma):
    """One step of D, then one of G."""
    X.requires_grad_(gamma > 0)
    real_Y, fake_Y = net_D(X).float(), net_D(fake_X.detach()).float()
    loss_D = loss.D(real_Y, fake_Y)
    if gamma > 0:
        loss_D = loss_D + gamma / 2 * r1_penalty(real_Y, X)
    trainer_D.zero_grad()
    loss_D.backward()
    trainer_D.step()

    loss_G = loss.G(real_Y.detach(), net_D(fake_X).float())
    trainer_G.zero_grad()
    loss_G.backward(inputs=list(net_G.parameters()))
    trainer_G.step()


def sure_cells(encoder, features, sure=0.9, at_least=10):
    """In how many cells are there `at_least` images of which the encoder is sure?"""
    heads = encoder.kind(features), encoder.hue(features)
    chances = torch.stack([head.softmax(dim=1).amax(dim=1) for head in heads])
    certain = (chances >= sure).all(dim=0)
    return filled_cells(encoder.cells(features)[certain], at_least)
