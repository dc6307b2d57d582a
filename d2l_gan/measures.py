"""How far generated data is from real data, and what a run's figures say about its game.

Gaussians are compared in closed form, images by the features of a small encoder.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2l_gan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from d2l_gan.data import data_folder

# Gaussians ----------------------------------------------------------------------------------------


def linear_gaussian(net_G: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of `net_G(z)`, z ~ N(0, I), for a generator of linear layers.

    Found by sending 0 and the unit vectors through, so any stack of linear layers will do.
    Raises ValueError where `net_G` is not linear.
    """
    layer = next((m for m in net_G.modules() if isinstance(m, nn.Linear)), None)
    if layer is None:
        raise ValueError(f'net_G must be made of linear layers; got {net_G}')
    weight = layer.weight
    unit = torch.eye(weight.shape[1], device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        mean = net_G(torch.zeros_like(unit[:1]))[0]
        rows = net_G(unit) - mean
        straight = torch.allclose(net_G(2 * unit) - mean, 2 * rows, rtol=1e-3, atol=1e-4)
    if not straight:
        raise ValueError('net_G must be linear: here G(2z) - G(0) is not 2 (G(z) - G(0))')
    rows = rows.double()
    return mean.double(), rows.T @ rows


def _double(mean, cov, name: str) -> tuple[Tensor, Tensor]:
    mean, cov = (torch.as_tensor(a).detach().double() for a in (mean, cov))
    if cov.shape[-1:] != mean.shape[-1:] or cov.shape[-2:] != (mean.shape[-1],) * 2:
        raise ValueError(
            f'mean_{name} and cov_{name} must have shapes (..., d) and (..., d, d); '
            f'got {tuple(mean.shape)} and {tuple(cov.shape)}'
        )
    if not torch.allclose(cov, cov.mT) or (torch.linalg.cholesky_ex(cov).info != 0).any():
        raise ValueError(f'cov_{name} must be symmetric and positive definite; got {cov.tolist()}')
    return mean, cov


def gaussian_kl(mean_q, cov_q, mean_p, cov_p) -> Tensor:
    """KL(q || p) in nats between two d-variate Gaussians, in double precision.

    Parameters: means of shape (..., d), symmetric positive definite covariances of shape
    (..., d, d); leading axes are a batch. Returns a tensor of the batch's shape.
    Raises ValueError where shapes do not match or a covariance is not positive definite.
    """
    (mean_q, cov_q), (mean_p, cov_p) = _double(mean_q, cov_q, 'q'), _double(mean_p, cov_p, 'p')
    gap = (mean_p - mean_q).unsqueeze(-1)
    trace = torch.linalg.solve(cov_p, cov_q).diagonal(dim1=-2, dim2=-1).sum(-1)
    distance = (gap.mT @ torch.linalg.solve(cov_p, gap)).squeeze(-1).squeeze(-1)
    return (trace + distance - gap.shape[-2] + cov_p.logdet() - cov_q.logdet()) / 2


def _squared_w2(mean_q, cov_q, mean_p, cov_p) -> Tensor:
    values, vectors = torch.linalg.eigh(cov_q)
    root = vectors * values.clamp(min=0).sqrt().unsqueeze(-2) @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ cov_p @ root).clamp(min=0).sqrt().sum(-1)
    trace = (cov_q + cov_p).diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((mean_q - mean_p).square().sum(-1) + trace - 2 * cross).clamp(min=0)


def gaussian_w2(mean_q, cov_q, mean_p, cov_p) -> Tensor:
    """2-Wasserstein distance between two Gaussians (Dowson and Landau, 1982), in data units.

    Parameters, return value and errors as for `gaussian_kl`.
    """
    q, p = _double(mean_q, cov_q, 'q'), _double(mean_p, cov_p, 'p')
    return _squared_w2(*q, *p).sqrt()


# Points -------------------------------------------------------------------------------------------


def sample_kl(q: Tensor, p: Tensor, k: int = 5) -> float:
    """KL(q || p) in nats, estimated from points of shape (n, d) and (m, d).

    From the distances to the `k`-th neighbour in either set (Wang, Kulkarni and Verdú, 2009);
    noisy, and below 0 at times where the two agree. Raises ValueError where a set has at most `k`
    points.
    """
    q, p = _checked(q, 'q'), _checked(p, 'p')
    if min(len(q), len(p)) <= k:
        raise ValueError(f'q and p must have more than k = {k} points; got {len(q)} and {len(p)}')
    among_q = torch.cdist(q, q).kthvalue(k + 1, dim=1).values  # the nearest is the point itself
    among_p = torch.cdist(q, p).kthvalue(k, dim=1).values
    ratio = (among_p.clamp(min=1e-12) / among_q.clamp(min=1e-12)).log().mean()
    return (q.shape[1] * ratio + math.log(len(p) / (len(q) - 1))).item()


def sample_w2(q: Tensor, p: Tensor) -> float:
    """2-Wasserstein distance between two sets of points of one shape (n, d), in data units.

    Each point is assigned to one of the other set, at the least total squared distance (SciPy's
    `linear_sum_assignment`). Two samples of one distribution are apart, too: compare with that.
    Raises ValueError where the shapes differ.
    """
    from scipy.optimize import linear_sum_assignment

    q, p = _checked(q, 'q'), _checked(p, 'p')
    if q.shape != p.shape:
        raise ValueError(f'q and p must have one shape; got {tuple(q.shape)} and {tuple(p.shape)}')
    cost = torch.cdist(q, p).square().cpu().numpy()
    return float(cost[linear_sum_assignment(cost)].mean() ** 0.5)


# Features of images -------------------------------------------------------------------------------


def _checked(features: Tensor, name: str) -> Tensor:
    if features.ndim != 2 or len(features) < 2 or not features.isfinite().all():
        raise ValueError(
            f'{name} must be finite, of shape (n, d) with n of at least 2; '
            f'got shape {tuple(features.shape)}'
        )
    return features.detach().double()


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between two sets of features, (n, d) and (m, d) (Heusel et al., 2017).

    The squared 2-Wasserstein distance between the two Gaussians that have the sets' means and
    covariances. Its size depends on the encoder and on n: compare it with real against real.
    Raises ValueError where a set is not finite or has fewer than two rows.
    """
    moments = []
    for features, name in ((real, 'real'), (fake, 'fake')):
        features = _checked(features, name)
        moments += [features.mean(0), features.T.cov()]
    return _squared_w2(*moments).item()


def coverage(cells: Tensor, num_cells: int = 32, at_least: int = 10) -> int:
    """How many of `num_cells` cells hold at least `at_least` of the images.

    `cells`: int tensor of shape (n,), the cell of each image, for sprites 8 * kind + hue.
    """
    return int((torch.bincount(cells.cpu(), minlength=num_cells) >= at_least).sum())


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Shares of fakes among the reals, and of reals among the fakes (Kynkäänniemi et al., 2019).

    A point lies among the others where it is no farther from one of them than that one's `k`-th
    neighbour. Parameters: features of shape (n, d) and (m, d). Precision falls with poor images,
    recall with missing ones.
    """
    real, fake = _checked(real, 'real'), _checked(fake, 'fake')

    def share_inside(points, others):
        radius = torch.cdist(others, others).kthvalue(k + 1, dim=1).values
        return (torch.cdist(points, others) <= radius).any(1).double().mean().item()

    return share_inside(fake, real), share_inside(real, fake)


def nearest(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each of `points` the index of the nearest of `others`, and its distance.

    Parameters: images or features, (n, ...) and (m, ...), compared by root mean square difference.
    Returns an int tensor (n,) and distances (n,) in units of the values. A distance of 0 for a
    generated image is a memorised one.
    """
    distance, index = torch.cdist(points.flatten(1), others.flatten(1)).min(1)
    return index, distance / points[0].numel() ** 0.5


class Encoder(nn.Module):
    """A small convolutional network: images (n, 3, 64, 64) in [-1, 1] to features (n, 64).

    `kind` and `hue` are linear heads on the features, for the sprites' 4 kinds and 8 hues.
    """

    def __init__(self):
        super().__init__()
        blocks = [
            nn.Sequential(
                nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1)
            )
            for i, o in ((3, 16), (16, 32), (32, 64), (64, 64))
        ]
        self.body = nn.Sequential(*blocks)
        self.kind, self.hue = nn.Linear(64, 4), nn.Linear(64, 8)

    def forward(self, X: Tensor) -> Tensor:
        """Features: each channel's mean over the last 4 x 4 map."""
        return self.body(X).mean((2, 3))

    @torch.no_grad()
    def encode(self, X: Tensor, batch_size: int = 256) -> Tensor:
        """Features of any number of images, batch by batch, without a gradient."""
        return torch.cat([self(batch) for batch in X.split(batch_size)])

    @torch.no_grad()
    def cells(self, features: Tensor) -> Tensor:
        """The cell of each image, 8 * kind + hue, as the heads see it: int tensor (n,)."""
        return 8 * self.kind(features).argmax(1) + self.hue(features).argmax(1)


def train_encoder(X: Tensor, kinds: Tensor, hues: Tensor, seed: int = 0) -> Encoder:
    """An `Encoder` that learnt to name kind and hue of sprites X (n, 3, 64, 64) in [-1, 1].

    Deterministic from `seed` on one machine; the caller's random numbers are left alone.
    """
    batch_size, passes = 64, 3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Encoder()
        trainer = torch.optim.Adam(net.parameters(), lr=1e-3)
        steps = passes * (len(X) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(trainer, max_lr=6e-3, total_steps=steps)
        for _ in range(passes):
            for i in torch.randperm(len(X))[: len(X) // batch_size * batch_size].split(batch_size):
                features = net(X[i])
                loss = F.cross_entropy(net.kind(features), kinds[i])
                loss = loss + F.cross_entropy(net.hue(features), hues[i])
                trainer.zero_grad()
                loss.backward()
                trainer.step()
                schedule.step()
    return net.eval().requires_grad_(False)


def sprite_encoder(X: Tensor, kinds: Tensor, hues: Tensor) -> Encoder:
    """`train_encoder`, its weights kept in `data_folder()`: seconds the first time, then none."""
    path = Path(data_folder()) / f'sprite-encoder-v1-{len(X)}.pt'
    net = Encoder().eval().requires_grad_(False)
    with torch.random.fork_rng(), suppress(FileNotFoundError, CheckpointError):
        load_checkpoint(path, {'encoder': net})
        return net
    net = train_encoder(X, kinds, hues)
    save_checkpoint(path, {'encoder': net})
    return net


def random_encoder(seed: int = 0) -> Encoder:
    """An `Encoder` that has learnt nothing, for images without labels.

    Random convolutions still tell images apart by colour, texture and place, and favour no data
    set; an encoder trained on photographs does not suit sprites (Naeem et al., 2020).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Encoder()
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.1)
    return net.eval().requires_grad_(False)


# The game -----------------------------------------------------------------------------------------


def non_saturating(fake_Y: Tensor) -> Tensor:
    """G's loss -log D(G(z)), mean over a batch of the fakes' logits."""
    return F.softplus(-fake_Y).mean()


def saturating(fake_Y: Tensor) -> Tensor:
    """G's loss log(1 - D(G(z))), mean over a batch of the fakes' logits."""
    return -F.softplus(fake_Y).mean()


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


def observe(
    net_D: nn.Module,
    net_G: nn.Module,
    X: Tensor,
    Z: Tensor,
    generator_loss: Callable[[Tensor], Tensor] = non_saturating,
    paired: bool = False,
) -> dict[str, float]:
    """The state of the game on a batch of real `X` and noise `Z`; neither net is changed.

    Returns the means of D(x) and D(G(z)) ('D_real', 'D_fake'); D's classic loss and G's loss per
    example ('loss_D', 'loss_G'); the norms of their gradients in the weights of the player that
    they move ('grad_D', 'grad_G'); the mean size of the gradient of G's loss in the logit of a fake
    ('pull', from 0 to 1 for the classic losses); and how much the fakes vary, as a share of how
    much the real ones do ('spread': of standard deviations, for points in the direction where the
    share is least, for images over all pixels together).

    In a `paired` game (relativistic loss) logits mean something only in comparison: D(x) is then
    the probability that the real one of a pair is, and D(G(z)) the rest; X and Z are equally long.
    """

    def call(net, batch):  # batch normalisation may update copies of its averages only
        state = dict(net.named_parameters())
        state |= {name: buffer.clone() for name, buffer in net.named_buffers()}
        return torch.func.functional_call(net, state, (batch,))

    def norm(loss, net):
        weights = [w for w in net.parameters() if w.requires_grad]
        grads = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        return sum(g.square().sum().item() for g in grads if g is not None) ** 0.5

    with torch.enable_grad():
        fake = call(net_G, Z)
        real_Y, fake_Y = call(net_D, X), call(net_D, fake)
        if paired:
            gap = real_Y - fake_Y
            loss_D, loss_G = F.softplus(-gap).mean(), F.softplus(gap).mean()
        else:
            loss_D = (F.softplus(-real_Y).mean() + F.softplus(fake_Y).mean()) / 2
            loss_G = generator_loss(fake_Y)
        (pull,) = torch.autograd.grad(loss_G, fake_Y, retain_graph=True)
        seen_real, seen_fake = (gap, -gap) if paired else (real_Y, fake_Y)
        return {
            'D_real': seen_real.sigmoid().mean().item(),
            'D_fake': seen_fake.sigmoid().mean().item(),
            'loss_D': loss_D.item(),
            'loss_G': loss_G.item(),
            'grad_D': norm(loss_D, net_D),
            'grad_G': norm(loss_G, net_G),
            'pull': pull.abs().sum().item(),
            'spread': _spread(fake.detach().flatten(1), X.detach().flatten(1)),
        }


def _spread(fake: Tensor, real: Tensor) -> float:
    """How much the rows of `fake` vary, as a share of how much those of `real` do."""
    fake, real = ((X - X.mean(0)).double().cpu() for X in (fake, real))
    if real.shape[1] > len(real) // 8:  # too few of them for a covariance
        return (fake.square().mean() / real.square().mean().clamp(min=1e-24)).sqrt().item()
    whole = real.T @ real / len(real)
    whole += 1e-6 * (whole.trace() + 1e-12) * torch.eye(len(whole))
    root = torch.linalg.inv(torch.linalg.cholesky(whole))
    share = root @ (fake.T @ fake / len(fake)) @ root.T
    return torch.linalg.eigvalsh(share)[0].clamp(min=0).sqrt().item()


@dataclass(frozen=True)
class Diagnosis:
    """A verdict on a run, in plain words, and the figures that it rests on."""

    verdict: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f'{self.verdict}: {self.evidence}. {self.advice}'


def diagnose(history: Sequence[Mapping[str, float]]) -> Diagnosis:
    """What the records of a run (dicts as `observe` returns them, in order) say about it.

    The verdict is one of 'G saturates', 'samples collapsed', 'D has won', 'D is fooled',
    'oscillating', 'near equilibrium' and 'too early to say'. It rests on the last third of the
    records. A game near equilibrium can still draw poorly: the players see each other, not the
    truth.
    """
    recent = history[-max(len(history) // 3, 4) :]
    if len(history) < 5:
        return Diagnosis(
            'too early to say',
            f'{len(history)} records, and it takes 5',
            'Train on, and record as you go.',
        )

    def series(key, records=recent):
        return torch.tensor([record[key] for record in records], dtype=torch.float64)

    real, fake, pull, spread = (
        series(key).mean().item() for key in ('D_real', 'D_fake', 'pull', 'spread')
    )
    seen = f'D(x) is {real:.2f} and D(G(z)) {fake:.2f}'
    swing = (series('D_fake').max() - series('D_fake').min()).item()
    turns = (series('D_fake', history).diff().sign().diff() != 0).double().mean().item()
    if fake < 0.15 and pull < 0.15:
        return Diagnosis(
            'G saturates',
            f"{seen}; a fake's logit moves G's loss by only {pull:.3f} per unit",
            'Use the non-saturating loss, which keeps a gradient when D is sure.',
        )
    if swing > 0.5 and turns > 0.1:
        return Diagnosis(
            'oscillating',
            f'D(G(z)) swings by {swing:.2f} while the players chase each other',
            "Lower both learning rates, lower Adam's first beta, or add a gradient penalty.",
        )
    before = series('spread', history[: len(history) // 3]).mean().item()
    least = series('spread').min().item()
    opening_up = len(history) >= 12 and least > max(0.15, 1.2 * before)
    if spread < 0.35 and not opening_up and real - fake < 0.95:
        behind = 'D is behind: raise its learning rate, or give it more steps for each of G.'
        ahead = 'Hold D back with a gradient penalty, or pair real and fake in a relativistic loss.'
        return Diagnosis(
            'samples collapsed',
            f'generated samples vary {spread:.2f} times as much as real ones; {seen}',
            behind if real - fake < 0.2 else ahead,
        )
    if real - fake > 0.45:
        return Diagnosis(
            'D has won',
            f'{seen}; the gap leaves G little to learn from',
            "Lower D's learning rate, or add a gradient penalty.",
        )
    if fake - real > 0.15:
        return Diagnosis(
            'D is fooled',
            f'{seen}: it takes the generated for real',
            'G runs to where D is wrong; let D learn: more steps, or a larger learning rate.',
        )
    if abs(real - 0.5) < 0.15 and abs(fake - 0.5) < 0.15:
        return Diagnosis(
            'near equilibrium',
            f'{seen}, both near 1/2; samples vary {spread:.2f} times as much as real ones',
            'D cannot tell them apart; measure the samples to know whether they are good.',
        )
    return Diagnosis(
        'too early to say', f'{seen}, neither decided nor at rest', 'Train on, then ask again.'
    )
