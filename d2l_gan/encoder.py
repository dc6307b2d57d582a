"""A small network that turns images into features, for the distances to be taken between them."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2l_gan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from d2l_gan.creatures import DRAWING, HUES, KINDS
from d2l_gan.download import data_folder


class Encoder(nn.Module):
    """Images (n, 3, 64, 64) in [-1, 1] to features (n, 64), which `kind` and `hue` read."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for i, o in ((3, 16), (16, 32), (32, 64), (64, 64)):
            conv = nn.Conv2d(i, o, 4, 2, 1, bias=False)
            self.body.append(nn.Sequential(conv, nn.BatchNorm2d(o), nn.LeakyReLU(0.1)))
        self.kind, self.hue = nn.Linear(64, len(KINDS)), nn.Linear(64, len(HUES))

    def forward(self, X: Tensor) -> Tensor:
        """Features: each channel's mean over the last 4 x 4 map."""
        return self.body(X).mean((2, 3))

    @torch.no_grad()
    def encode(self, X: Tensor, batch_size: int = 256) -> Tensor:
        """Features of any number of images, batch by batch, without a gradient."""
        return torch.cat([self(batch) for batch in X.split(batch_size)])

    @torch.no_grad()
    def cells(self, features: Tensor) -> Tensor:
        """The cell of each image, kind * len(HUES) + hue, as the heads see it: int tensor (n,)."""
        return len(HUES) * self.kind(features).argmax(1) + self.hue(features).argmax(1)


def train_encoder(X: Tensor, kinds: Tensor, hues: Tensor, seed: int = 0) -> Encoder:
    """An `Encoder` that learnt kind and hue of sprites; the caller's random numbers are left alone.

    Parameters
    ----------
    X : Tensor, shape (n, 3, 64, 64), in [-1, 1], n of at least 64
    kinds, hues : int Tensor, shape (n,), as `sprite_labels` gives them
    """
    batch_size, passes = 64, 3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Encoder()
        trainer = torch.optim.Adam(net.parameters(), lr=1e-3)
        steps = len(X) // batch_size
        schedule = torch.optim.lr_scheduler.OneCycleLR(trainer, 6e-3, total_steps=passes * steps)
        for _ in range(passes):
            for i in torch.randperm(len(X))[: steps * batch_size].split(batch_size):
                Y = net(X[i])
                loss = F.cross_entropy(net.kind(Y), kinds[i]) + F.cross_entropy(net.hue(Y), hues[i])
                trainer.zero_grad()
                loss.backward()
                trainer.step()
                schedule.step()
    return net.eval().requires_grad_(False)


def sprite_encoder(X: Tensor, kinds: Tensor, hues: Tensor) -> Encoder:
    """`train_encoder`, its weights kept in `data_folder()`: seconds the first time, then none."""
    path = Path(data_folder()) / f'sprite-encoder-v{DRAWING}-{len(X)}.pt'
    net = Encoder().eval().requires_grad_(False)
    with torch.random.fork_rng(), suppress(FileNotFoundError, CheckpointError):
        load_checkpoint(path, {'encoder': net})
        return net
    net = train_encoder(X, kinds, hues)
    save_checkpoint(path, {'encoder': net})
    return net


def random_encoder(seed: int = 0) -> Encoder:
    """An `Encoder` that has learnt nothing, for images without labels (Naeem et al., 2020)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Encoder()
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.1)
    return net.eval().requires_grad_(False)
