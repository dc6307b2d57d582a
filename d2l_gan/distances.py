"""How far generated data is from real data: Gaussians in closed form, points, features of images.

All but `nearest` compute in double precision and pass on no gradient; a ValueError names the
argument whose shape does not fit, that is not finite, or that holds too few points.
"""

import math

import torch
from torch import Tensor, nn

from d2l_gan.steps import first_layer


def linear_gaussian(net_G: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of `net_G(z)`, z ~ N(0, I), for a generator that is linear.

    0 and the unit vectors are sent through: any linear layers will do, else it is a ValueError.
    """
    layer = first_layer(net_G, nn.Linear)
    if layer is None:
        raise ValueError(f'net_G must be made of linear layers; got {net_G}')
    unit = torch.eye(layer.in_features).to(layer.weight)
    with torch.no_grad():
        mean = net_G(torch.zeros_like(unit[:1]))[0]
        rows = net_G(unit) - mean
        straight = torch.allclose(net_G(2 * unit) - mean, 2 * rows, rtol=1e-3, atol=1e-4)
    if not straight:
        raise ValueError('net_G must be linear: here G(2z) - G(0) is not 2 (G(z) - G(0))')
    rows = rows.double()
    return mean.double(), rows.T @ rows


def _gaussian(mean: Tensor, cov: Tensor, name: str) -> tuple[Tensor, Tensor]:
    mean, cov = (torch.as_tensor(a).detach().double() for a in (mean, cov))
    if cov.shape[-1:] != mean.shape[-1:] or cov.shape[-2:] != (mean.shape[-1],) * 2:
        wanted = f'mean_{name} and cov_{name} must have shapes (..., d) and (..., d, d)'
        raise ValueError(f'{wanted}; got {tuple(mean.shape)} and {tuple(cov.shape)}')
    if not torch.allclose(cov, cov.mT) or (torch.linalg.cholesky_ex(cov).info != 0).any():
        raise ValueError(f'cov_{name} must be symmetric and positive definite; got {cov.tolist()}')
    return mean, cov


def gaussian_kl(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    """KL(q || p) between Gaussians, in nats: a tensor of the batch's shape.

    Parameters
    ----------
    mean_q, mean_p : Tensor, shape (..., d); leading axes are a batch
    cov_q, cov_p : Tensor, shape (..., d, d), symmetric and positive definite, else a ValueError

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> one = torch.eye(1)
    >>> d2l.gaussian_kl(torch.tensor([1.0]), one, torch.tensor([0.0]), one).item()
    0.5
    """
    (mean_q, cov_q), (mean_p, cov_p) = _gaussian(mean_q, cov_q, 'q'), _gaussian(mean_p, cov_p, 'p')
    gap = (mean_p - mean_q).unsqueeze(-1)
    trace = torch.linalg.solve(cov_p, cov_q).diagonal(dim1=-2, dim2=-1).sum(-1)
    distance = (gap.mT @ torch.linalg.solve(cov_p, gap)).squeeze(-1).squeeze(-1)
    return (trace + distance - gap.shape[-2] + cov_p.logdet() - cov_q.logdet()) / 2


def _squared_w2(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(cov_q)
    root = vectors * values.clamp(min=0).sqrt().unsqueeze(-2) @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ cov_p @ root).clamp(min=0).sqrt().sum(-1)
    trace = (cov_q + cov_p).diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((mean_q - mean_p).square().sum(-1) + trace - 2 * cross).clamp(min=0)


def gaussian_w2(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    """2-Wasserstein distance between Gaussians (Dowson and Landau, 1982), in the data's units.

    Parameters, return value and errors are those of `gaussian_kl`.

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> one = torch.eye(2)
    >>> d2l.gaussian_w2(torch.tensor([3.0, 4.0]), one, torch.zeros(2), one).item()
    5.0
    """
    q, p = _gaussian(mean_q, cov_q, 'q'), _gaussian(mean_p, cov_p, 'p')
    return _squared_w2(*q, *p).sqrt()


def _checked(rows: Tensor, name: str, more_than: int = 1) -> Tensor:
    if rows.ndim != 2 or len(rows) <= more_than or not rows.isfinite().all():
        wanted = f'finite, of shape (n, d) with n of at least {more_than + 1}'
        raise ValueError(f'{name} must be {wanted}; got shape {tuple(rows.shape)}')
    return rows.detach().double()


def _to_neighbour(points: Tensor, k: int) -> Tensor:
    """Distance from each point to its k-th neighbour; the nearest of all is the point itself."""
    return torch.cdist(points, points).kthvalue(k + 1, dim=1).values


def sample_kl(q: Tensor, p: Tensor, k: int = 5) -> float:
    """KL(q || p) in nats, estimated from points (Wang, Kulkarni and Verdú, 2009).

    Noisy, and below 0 at times where the two agree.

    Parameters
    ----------
    q, p : Tensor, shapes (n, d) and (m, d), each of more than `k` points
    k : int; density is read off the distance to the `k`-th neighbour in either set
    """
    q, p = _checked(q, 'q', k), _checked(p, 'p', k)
    among_q, among_p = _to_neighbour(q, k), torch.cdist(q, p).kthvalue(k, dim=1).values
    ratio = (among_p.clamp(min=1e-12) / among_q.clamp(min=1e-12)).log().mean()
    return (q.shape[1] * ratio + math.log(len(p) / (len(q) - 1))).item()


def sample_w2(q: Tensor, p: Tensor) -> float:
    """2-Wasserstein distance between two sets of points of one shape (n, d), in the data's units.

    Each point is assigned to one of the other set, at the least total squared distance. Two samples
    of one distribution are apart, too: compare with that.
    """
    from scipy.optimize import linear_sum_assignment

    q, p = _checked(q, 'q'), _checked(p, 'p')
    if q.shape != p.shape:
        raise ValueError(f'q and p must have one shape; got {tuple(q.shape)} and {tuple(p.shape)}')
    cost = torch.cdist(q, p).square().cpu().numpy()
    return float(cost[linear_sum_assignment(cost)].mean() ** 0.5)


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance (Heusel et al., 2017): squared W2 of the Gaussians with the sets' moments.

    Its size depends on the encoder and on n: compare it with real against real. Features have
    shapes (n, d) and (m, d), n and m at least 2; fewer than d will do.

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> real = torch.tensor([[0.0], [1.0], [2.0]])
    >>> d2l.frechet_distance(real, real + 3)
    9.0
    """
    real, fake = _checked(real, 'real'), _checked(fake, 'fake')
    moments = [(rows.mean(0), torch.atleast_2d(rows.T.cov())) for rows in (real, fake)]
    return _squared_w2(*moments[0], *moments[1]).item()


def filled_cells(cells: Tensor, at_least: int = 10) -> int:
    """How many cells hold `at_least` images or more, given each image's cell: int tensor (n,).

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> d2l.filled_cells(torch.tensor([0, 0, 3]), at_least=2)
    1
    """
    return int((torch.bincount(cells.cpu()) >= at_least).sum())


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Shares of fakes among the reals, and of reals among the fakes (Kynkäänniemi et al., 2019).

    A point lies among the others where it is no farther from one of them than that one's `k`-th
    neighbour. Precision falls with poor images, recall with missing ones. Features have shapes
    (n, d) and (m, d), n and m more than `k`.

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> real = torch.arange(20.0).unsqueeze(1)
    >>> d2l.precision_recall(real, real[:10])  # good fakes, but of one half alone
    (1.0, 0.65)
    """
    real, fake = _checked(real, 'real', k), _checked(fake, 'fake', k)

    def share_inside(points: Tensor, others: Tensor) -> float:
        inside = torch.cdist(points, others) <= _to_neighbour(others, k)
        return inside.any(1).double().mean().item()

    return share_inside(fake, real), share_inside(real, fake)


def nearest(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each of `points` (n, ...) the index (n,) of the nearest of `others` (m, ...), how far.

    Images or features; the distance (n,) is the root mean square difference, 0 where memorised.

    Examples
    --------
    >>> import torch
    >>> import d2l_gan as d2l
    >>> index, distance = d2l.nearest(torch.tensor([[5.0]]), torch.tensor([[0.0], [4.0]]))
    >>> index.item(), distance.item()
    (1, 1.0)
    """
    distance, index = torch.cdist(points.flatten(1), others.flatten(1)).min(1)
    return index, distance / points[0].numel() ** 0.5
