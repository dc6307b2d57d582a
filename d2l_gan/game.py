"""The game of a GAN on points in the plane: two players, taking steps, taken back in time."""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from d2l_gan.diagnosis import Diagnosis, diagnose, observe
from d2l_gan.distances import gaussian_kl, gaussian_w2, linear_gaussian, sample_kl, sample_w2
from d2l_gan.losses import LOSSES, r1_penalty
from d2l_gan.record import Record
from d2l_gan.steps import at_rest, first_layer
from d2l_gan.targets import TARGETS, Target

OWN = 'your data'
NUM_FIXED = 256  # points generated from a noise that stays the same
#: The least and the largest value of each setting.
LIMITS = {'lr_D': (1e-5, 10**-0.5), 'lr_G': (1e-5, 10**-0.5), 'd_steps': (0, 10)}
LIMITS |= {'batch_size': (2, 256)}


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError where a setting lies outside its limits."""
    if not low <= value <= high:
        raise ValueError(f'{name} must lie between {low:.3g} and {high:.3g}; got {value}')


def check_one_of(name: str, value: str, choices: Collection[str]) -> None:
    """Raise a ValueError where a setting is none of the choices."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {tuple(choices)}; got {value!r}')


class Game:
    """A GAN on points in the plane, played step by step and recorded: no page, no Jupyter.

    The networks are trained in place, each by Adam. Of every few steps the figures and the state
    are kept. Going back takes networks, optimisers, noise and target along; the settings stay.

    Parameters
    ----------
    net_D : nn.Module, your discriminator, points (n, 2) to logits (n, 1)
    net_G : nn.Module, your generator, noise (n, latent_dim) to points (n, 2)
    data : Tensor, shape (n, 2), real points, at least 8
    latent_dim : int; by default what the first linear layer of `net_G` takes
    gaussian : tuple of Tensor, mean (2,) and covariance (2, 2), where the data is drawn from one
        With a linear G, KL and W2 are then exact; else they are estimated.
    lr_D, lr_G : float, learning rates, 1e-5 to 0.316
    d_steps : int, D steps per G step, 0 to 10
    batch_size : int, points in a batch, 2 to 256
    loss : str, a name in `LOSSES`
    target : str, 'your data' or a name in `TARGETS`
    seed : int, of the batches and the noise

    Raises
    ------
    ValueError
        Where networks and data do not fit together, or a setting is out of its limits
    """

    def __init__(
        self, net_D: nn.Module, net_G: nn.Module, data: Tensor, latent_dim: int | None = None,
        gaussian: tuple[Tensor, Tensor] | None = None, lr_D: float = 0.05, lr_G: float = 0.005,
        d_steps: int = 1, batch_size: int = 8, loss: str = 'non-saturating', target: str = OWN,
        seed: int = 0,
    ):  # fmt: skip
        self.net_D, self.net_G = net_D, net_G
        self._check_weights()
        first = first_layer(net_G, nn.Linear)
        if latent_dim is None and first is None:
            raise ValueError('net_G has no linear layer to tell the size of z: give latent_dim')
        self.latent_dim: int = latent_dim or first.in_features
        self.device = next(net_G.parameters()).device
        self._random = torch.Generator().manual_seed(seed)
        own = torch.as_tensor(data).detach().float().to(self.device)
        self._check_shapes(own)
        own_target = Target('the points that you gave', lambda n, random: own, gaussian)
        self.targets = {OWN: own_target, **TARGETS}
        self.lr_D, self.lr_G, self.d_steps, self.batch_size = lr_D, lr_G, d_steps, batch_size
        self.loss, self.steps = loss, 0
        check_one_of('target', target, self.targets)
        self._aim_at(target)
        self._trainers = [torch.optim.Adam(net.parameters()) for net in (net_D, net_G)]
        fixed_Z = torch.randn(NUM_FIXED, self.latent_dim, generator=self._random)
        self._fixed_Z = fixed_Z.to(self.device)
        size = sum(w.nbytes for net in (net_D, net_G) for w in net.parameters())
        # Adam keeps two numbers for each weight; 200 MB of states, but at least 20, at most 400.
        self.record = Record(most=int(max(20, min(400, 2e8 // max(3 * size, 1)))))
        self._remember()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in LIMITS:
            check_within(name, value, *LIMITS[name])
        elif name == 'loss':
            check_one_of(name, value, LOSSES)
        super().__setattr__(name, value)

    @property
    def target(self) -> str:
        """What G should imitate, 'your data' or a name in `TARGETS`."""
        return self._target

    @target.setter
    def target(self, name: str) -> None:
        check_one_of('target', name, self.targets)
        if name != self._target:
            with self._new_moment():
                self._aim_at(name)

    @property
    def history(self) -> list[dict[str, float]]:
        """The figures of every moment that was kept, those of `observe` and 'step', 'KL', 'W2'."""
        return self.record.figures

    def _aim_at(self, target: str) -> None:
        self._target = target
        self._gaussian = self.targets[target].gaussian
        points = self.targets[target].draw(1000, torch.Generator().manual_seed(0))
        self.data = points.to(self.device)

    def step(self, n: int = 1, seconds: float = math.inf, watch: Callable | None = None) -> None:
        """Play `n` rounds, each of `d_steps` steps of D and one of G; begin none after `seconds`.

        An interrupted game stays where it is. `watch` is called about once a second.
        """
        start = watched = time.monotonic()
        with self._new_moment():
            for i in range(n):
                for _ in range(self.d_steps):
                    self._move_D()
                self._move_G()
                self.steps += 1
                now = time.monotonic()
                if i == n - 1 or now > start + seconds:
                    break
                if self.record.is_due(self.steps):
                    self._remember()
                if watch is not None and now > watched + 1:
                    watch()
                    watched = time.monotonic()

    def step_D(self) -> None:
        """One step of D alone, which is no round."""
        with self._new_moment():
            self._move_D()

    def step_G(self) -> None:
        """One step of G alone, which ends a round."""
        with self._new_moment():
            self._move_G()
            self.steps += 1

    def batch(self) -> tuple[Tensor, Tensor]:
        """Draw a batch of real points, with replacement, and as much noise."""
        rows = torch.randint(len(self.data), (self.batch_size,), generator=self._random)
        Z = torch.randn(self.batch_size, self.latent_dim, generator=self._random)
        return self.data[rows.to(self.device)], Z.to(self.device)

    def _move_D(self) -> None:
        loss, (X, Z) = LOSSES[self.loss], self.batch()
        with torch.no_grad():
            fake_X = self.net_G(Z)
        X.requires_grad_(loss.gamma > 0)
        real_Y, fake_Y = self.net_D(X), self.net_D(fake_X)
        loss_D = loss.D(real_Y, fake_Y)
        if loss.gamma > 0:
            loss_D = loss_D + loss.gamma / 2 * r1_penalty(real_Y, X)
        self._descend(self._trainers[0], self.lr_D, loss_D)

    def _move_G(self) -> None:
        X, Z = self.batch()
        self._descend(self._trainers[1], self.lr_G, self._loss_G(X, self.net_G(Z)))

    def _loss_G(self, X: Tensor, fake_X: Tensor) -> Tensor:
        loss, fake_Y = LOSSES[self.loss], self.net_D(fake_X)
        if not loss.compares:
            return loss.G(fake_Y, fake_Y)  # the first is not looked at
        with torch.no_grad():
            real_Y = self.net_D(X)
        return loss.G(real_Y, fake_Y)

    def _descend(self, trainer: torch.optim.Optimizer, lr: float, loss: Tensor) -> None:
        (group,) = trainer.param_groups
        group['lr'] = lr
        trainer.zero_grad()
        loss.backward(inputs=[w for w in group['params'] if w.requires_grad])
        trainer.step()

    def go_to(self, index: int) -> None:
        """Go back (or forth) to `history[index]`: networks, optimisers, noise, target.

        What came after is forgotten with the next step. IndexError where there is no such record.
        """
        state = self.record.visit(index)
        self.net_D.load_state_dict(state['net_D'])
        self.net_G.load_state_dict(state['net_G'])
        for trainer, saved in zip(self._trainers, state['trainers'], strict=True):
            trainer.load_state_dict(copy.deepcopy(saved))
        self._random.set_state(state['random'])
        self.steps = int(self.history[self.record.at]['step'])
        self._aim_at(state['target'])

    def diagnosis(self) -> Diagnosis:
        """What `diagnose` says about the last 30 records up to now, of this target alone."""
        return diagnose(self.record.window())

    @contextmanager
    def _new_moment(self) -> Iterator[None]:
        """Around whatever changes the game: the future goes, the new present is kept."""
        self.record.forget_the_future()
        try:
            yield
        except KeyboardInterrupt:
            self._remember()
            raise
        self._remember()

    def _remember(self) -> None:
        X, Z = self.data[:NUM_FIXED], self._fixed_Z[: len(self.data)]
        figures = observe(self.net_D, self.net_G, X, Z, LOSSES[self.loss])
        if not all(map(math.isfinite, figures.values())):
            cure = 'lower the learning rates, and go back in time'
            raise FloatingPointError(f'the networks no longer give finite numbers: {cure}')
        state = {
            'net_D': self.net_D.state_dict(),
            'net_G': self.net_G.state_dict(),
            'trainers': [trainer.state_dict() for trainer in self._trainers],
            'random': self._random.get_state(),
            'target': self.target,
        }
        figures |= {'step': self.steps, **self._distances(X, Z)}
        self.record.add(figures, copy.deepcopy(state))

    def _distances(self, X: Tensor, Z: Tensor) -> dict[str, float]:
        try:
            q = linear_gaussian(self.net_G) if self._gaussian is not None else None
        except ValueError:  # not linear
            q = None
        if q is None or self._gaussian is None:
            with torch.no_grad(), at_rest(self.net_D, self.net_G):
                fake_X = self.net_G(Z)
            few = slice(128)  # the assignment takes the cube of their number
            return {'KL': sample_kl(fake_X, self.data), 'W2': sample_w2(fake_X[few], X[few])}
        (mean, cov), p = ([moment.cpu() for moment in pair] for pair in (q, self._gaussian))
        try:
            kl = gaussian_kl(mean, cov, *p).item()
        except ValueError:  # G's covariance has collapsed to a line or a point
            kl, cov = math.inf, cov + 1e-12 * torch.eye(2)
        return {'KL': kl, 'W2': gaussian_w2(mean, cov, *p).item()}

    def points(self, n: int = 200) -> tuple[Tensor, Tensor, Tensor]:
        """Real points, generated ones (of a fixed noise), and where G's loss would have these go.

        Three tensors of shape (n, 2), or shorter where there is less data; the last is minus the
        gradient of G's loss at each generated point.
        """
        X = self.data[: min(n, NUM_FIXED)]
        with torch.enable_grad(), at_rest(self.net_D, self.net_G):
            fake_X = self.net_G(self._fixed_Z[: len(X)]).detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._loss_G(X, fake_X), fake_X)
        return X, fake_X.detach(), -len(X) * slope

    def opinion(self, places: Tensor, seen: Tensor) -> Tensor:
        """D's opinion of `places` (m, 2), shape (m, 1); differences are taken to those `seen`."""
        with torch.no_grad(), at_rest(self.net_D):
            return LOSSES[self.loss].opinion(self.net_D(places), self.net_D(seen).mean())

    def _check_weights(self) -> None:
        for name, net in (('net_D', self.net_D), ('net_G', self.net_G)):
            weights = [w for w in net.parameters() if w.requires_grad]
            if not weights:
                raise ValueError(f'{name} has no weights that learn: are they frozen?')
            if any(w.dtype != torch.float32 for w in weights):
                raise ValueError(f'{name} must be in float32: call {name}.float()')

    def _check_shapes(self, data: Tensor) -> None:
        """Look at the data, and send one small batch through both networks."""
        if not data.isfinite().all():
            raise ValueError('data holds numbers that are not finite (nan or inf)')
        shape = tuple(data.shape)
        if len(shape) != 2 or shape[1] != 2 or shape[0] < 8:
            raise ValueError(f'data must hold at least 8 points, shape (n, 2); got {shape}')
        Z = torch.randn(8, self.latent_dim, generator=self._random).to(self.device)
        with torch.no_grad(), at_rest(self.net_D, self.net_G):
            fake_X = self.net_G(Z)
            if fake_X.shape != (8, 2):
                task = f'net_G must map noise (n, {self.latent_dim}) to points (n, 2)'
                raise ValueError(f'{task}; 8 draws became {tuple(fake_X.shape)}')
            fake_Y = self.net_D(fake_X)
        if fake_Y.numel() != 8:
            task = 'net_D must map points (n, 2) to n logits'
            raise ValueError(f'{task}; 8 points became {tuple(fake_Y.shape)}')
