"""One step of each player of the GAN game, as both chapters define them, and what steps need."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def first_layer(net: nn.Module, *kinds: type[nn.Module]) -> Any:
    """The first layer of `net` that is of one of the `kinds`, or None where there is none."""
    return next((layer for layer in net.modules() if isinstance(layer, kinds)), None)


@contextmanager
def at_rest(*nets: nn.Module) -> Iterator[None]:
    """Within it, batch normalisation and dropout behave as after the training, and stay as is."""
    modes = [(module, module.training) for net in nets for module in net.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _misfit(batch_name: str, batch: torch.Tensor, net_name: str, net: nn.Module) -> str | None:
    """How `batch` disagrees with the first layer of `net`, or None where it does not."""
    layer = first_layer(net, nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    if layer is None:
        return None
    if isinstance(layer, nn.Linear):
        wanted, fits = f'(batch, {layer.in_features})', batch.shape[-1] == layer.in_features
    else:
        wanted = f'(batch, {layer.in_channels}, height, width)'
        fits = batch.ndim == 4 and batch.shape[1] == layer.in_channels
    there = str(layer.weight.device)
    if not fits:
        problem = f'does not fit {net_name}, whose first layer is {layer}: expected shape {wanted}'
        return f'{batch_name} {problem}, got {tuple(batch.shape)}'
    if str(batch.device) != there:
        cure = f'move one of them, for example {batch_name} = {batch_name}.to({there!r})'
        return f'{batch_name} is on {batch.device} but {net_name} is on {there}: {cure}'
    return None


def explain_misfit(step: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Decorate a step `(X, Z, net_D, net_G, ...)` or `(Z, net_D, net_G, ...)`: clearer errors.

    Where PyTorch fails in it because `X` does not fit `net_D` or `Z` does not fit `net_G` (shape or
    device), a ValueError names the batch, what was expected and what came. Others pass through.
    """

    @functools.wraps(step)
    def explained(*args: Any, **kwargs: Any) -> torch.Tensor:
        try:
            return step(*args, **kwargs)
        except RuntimeError as error:
            given = inspect.signature(step).bind(*args, **kwargs).args
            *batches, net_D, net_G = given[: 4 if isinstance(given[1], torch.Tensor) else 3]
            pairs = ('Z', batches[-1], 'net_G', net_G), ('X', batches[0], 'net_D', net_D)
            for pair in pairs[: len(batches)]:
                if problem := _misfit(*pair):
                    raise ValueError(problem) from error
            raise

    return explained


@explain_misfit
def update_D(X, Z, net_D, net_G, loss, trainer_D):
    """One step of the discriminator: real points X get label 1, fakes G(Z) label 0.

    Returns half the sum of the two losses, detached.
    """
    with torch.no_grad():  # G only supplies the fakes here: no graph, no gradient for it
        fake_X = net_G(Z)
    real_Y, fake_Y = net_D(X), net_D(fake_X)
    loss_real = loss(real_Y, torch.ones_like(real_Y))
    loss_fake = loss(fake_Y, torch.zeros_like(fake_Y))
    loss_D = (loss_real + loss_fake) / 2
    trainer_D.zero_grad()
    loss_D.backward()
    trainer_D.step()
    return loss_D.detach()


@explain_misfit
def update_G(Z, net_D, net_G, loss, trainer_G):
    """One step of the generator: fakes G(Z) get label 1, as if they were real.

    Returns the loss, detached.
    """
    fake_Y = net_D(net_G(Z))
    loss_G = loss(fake_Y, torch.ones_like(fake_Y))
    trainer_G.zero_grad()
    loss_G.backward(inputs=list(net_G.parameters()))  # gradients for G alone, not for D
    trainer_G.step()
    return loss_G.detach()


def he_init(net: nn.Module) -> None:
    """Start a network anew: He et al.'s (2015) variance of 2 / fan-in, batch norm with scale 1.

    The fan-in is the number of terms that one output pixel adds up. A transposed convolution of
    stride s adds up (kernel / s)^2 of them per channel; one of stride 1 starts from a single pixel.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] ** 2
        elif isinstance(layer, nn.ConvTranspose2d):
            s = layer.stride[0]
            fan_in = layer.in_channels * ((layer.kernel_size[0] / s) ** 2 if s > 1 else 1)
        else:
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
            continue
        nn.init.normal_(layer.weight, 0, (2 / fan_in) ** 0.5)


def blur(X: torch.Tensor, sigma: float) -> torch.Tensor:
    """Images X (batch, channels, height, width) without detail finer than some `sigma` pixels."""
    if sigma < 0.2:  # too narrow to reach the next pixel
        return X

    def weights(size):
        place = torch.arange(size, device=X.device)
        bell = torch.exp(-(((place[:, None] - place) / sigma) ** 2) / 2)
        bell[bell < 1e-6] = 0  # tiny numbers are slow to multiply
        return bell / bell.sum(1, keepdim=True)

    return weights(X.shape[-2]) @ X @ weights(X.shape[-1]).T
