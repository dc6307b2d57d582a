"""Distances against closed forms, SciPy, loops and a published implementation."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial import cKDTree
from torch import nn

import d2l_gan as d2l


def random_gaussian(d, seed):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(d, d, generator=generator, dtype=torch.float64)
    mean = torch.randn(d, generator=generator, dtype=torch.float64)
    return mean, root @ root.T + 0.1 * torch.eye(d)


def test_kl_and_w2_of_one_dimension_by_hand():
    """KL = log(s_p / s_q) + (s_q^2 + gap^2) / (2 s_p^2) - 1/2 and W2^2 = gap^2 + (s_q - s_p)^2."""
    q, p = (
        (torch.tensor([1.0]), torch.tensor([[4.0]])),
        (torch.tensor([3.0]), torch.tensor([[9.0]])),
    )
    assert d2l.gaussian_kl(*q, *p) == pytest.approx(math.log(3 / 2) + (4 + 4) / 18 - 1 / 2)
    assert d2l.gaussian_w2(*q, *p) == pytest.approx(math.sqrt(4 + 1))


@pytest.mark.parametrize('d', [1, 2, 5])
def test_kl_agrees_with_pytorchs_distributions(d):
    q, p = random_gaussian(d, 0), random_gaussian(d, 1)
    normal = torch.distributions.MultivariateNormal
    expected = torch.distributions.kl_divergence(normal(*q), normal(*p))
    torch.testing.assert_close(d2l.gaussian_kl(*q, *p), expected)
    assert d2l.gaussian_kl(*q, *q) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('d', [1, 2, 5, 64])
def test_w2_agrees_with_scipys_matrix_square_root(d):
    (mean_q, cov_q), (mean_p, cov_p) = random_gaussian(d, 0), random_gaussian(d, 1)
    cross = scipy.linalg.sqrtm((cov_q @ cov_p).numpy()).real
    expected = (mean_q - mean_p).square().sum() + (cov_q + cov_p).trace() - 2 * cross.trace()
    assert d2l.gaussian_w2(mean_q, cov_q, mean_p, cov_p) == pytest.approx(math.sqrt(expected))
    assert d2l.gaussian_w2(mean_q, cov_q, mean_q, cov_q) == pytest.approx(0, abs=1e-5)


def test_gaussians_come_in_batches():
    pairs = [random_gaussian(3, seed) for seed in range(4)]
    means, covs = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    target = random_gaussian(3, 9)
    for measure in (d2l.gaussian_kl, d2l.gaussian_w2):
        together = measure(means, covs, *target)
        alone = torch.stack([measure(*pair, *target) for pair in pairs])
        torch.testing.assert_close(together, alone)


def test_a_covariance_that_is_none_is_named():
    mean, bad = torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    for measure in (d2l.gaussian_kl, d2l.gaussian_w2):
        with pytest.raises(ValueError, match='cov_q must be symmetric and positive definite'):
            measure(mean, bad, mean, torch.eye(2))
        with pytest.raises(ValueError, match='cov_p must be symmetric and positive definite'):
            measure(mean, torch.eye(2), mean, bad)
        with pytest.raises(ValueError, match=r'shapes \(..., d\) and \(..., d, d\)'):
            measure(mean, torch.eye(3), mean, torch.eye(2))


def test_linear_gaussian_is_what_the_samples_show():
    torch.manual_seed(0)
    net_G = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    mean, cov = d2l.linear_gaussian(net_G)
    samples = net_G(torch.randn(200_000, 2)).detach().double()
    torch.testing.assert_close(mean, samples.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(cov, samples.T.cov(), atol=0.02, rtol=0)
    with pytest.raises(ValueError, match='must be linear'):
        d2l.linear_gaussian(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)))


def test_sample_kl_comes_close_to_the_closed_form():
    torch.manual_seed(0)
    mean, cov = torch.tensor([1.0, -0.5]), torch.tensor([[2.0, 0.6], [0.6, 1.0]])
    q = torch.randn(4000, 2)
    p = torch.randn(3000, 2) @ torch.linalg.cholesky(cov).T + mean
    exact = d2l.gaussian_kl(torch.zeros(2), torch.eye(2), mean, cov).item()
    assert d2l.sample_kl(q, p) == pytest.approx(exact, abs=0.12)
    backwards = d2l.gaussian_kl(mean, cov, torch.zeros(2), torch.eye(2)).item()
    assert d2l.sample_kl(p, q) == pytest.approx(backwards, abs=0.2)
    assert abs(d2l.sample_kl(q[:2000], q[2000:])) < 0.08
    assert 10 < d2l.sample_kl(torch.zeros(100, 2), p) < float('inf')
    with pytest.raises(ValueError, match=r'q must .* n of at least 6; got shape \(5, 2\)'):
        d2l.sample_kl(q[:5], p)


def test_sample_w2_is_the_best_assignment():
    torch.manual_seed(0)
    q = torch.randn(60, 2)
    assert d2l.sample_w2(q, q[torch.randperm(60)] + torch.tensor([3.0, 4.0])) == pytest.approx(5)
    line = torch.stack([torch.randn(60), torch.zeros(60)], 1), torch.zeros(60, 2)
    line[1][:, 0] = torch.randn(60) * 2 + 1
    in_order = [points[:, 0].sort().values for points in line]  # on a line, order is optimal
    expected = (in_order[0] - in_order[1]).square().mean().sqrt().item()
    assert d2l.sample_w2(*line) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match='one shape'):
        d2l.sample_w2(q, q[:50])


def test_frechet_distance_agrees_with_torchmetrics():
    fid = pytest.importorskip('torchmetrics.image.fid')

    class Flatten(nn.Module):
        num_features = 12

        def forward(self, X):
            return X.flatten(1).double()

    torch.manual_seed(0)
    real, fake = torch.rand(300, 3, 2, 2), torch.rand(200, 3, 2, 2) ** 2
    metric = fid.FrechetInceptionDistance(feature=Flatten(), normalize=True).double()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert d2l.frechet_distance(real.flatten(1), fake.flatten(1)) == pytest.approx(
        metric.compute().item(), rel=1e-4
    )


def test_frechet_distance_takes_features_that_are_not_of_full_rank():
    features = torch.randn(50, 4)
    flat = torch.cat([features, features[:, :1]], 1)
    assert d2l.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)
    assert d2l.frechet_distance(flat, flat + 2) == pytest.approx(20, rel=1e-4)
    with pytest.raises(ValueError, match='fake must be finite'):
        d2l.frechet_distance(flat, flat * torch.nan)
    with pytest.raises(ValueError, match='n of at least 2'):
        d2l.frechet_distance(flat, flat[:1])


def test_filled_cells_counts_those_with_enough_images():
    cells = torch.tensor([0] * 10 + [1] * 9 + [31] * 30)
    assert d2l.filled_cells(cells) == 2
    assert d2l.filled_cells(cells, at_least=9) == 3
    assert d2l.filled_cells(cells, at_least=1) == 3


def test_precision_falls_with_outliers_and_recall_with_missing_modes():
    torch.manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    real = (centers[:, None] + torch.randn(2, 100, 2)).flatten(0, 1)
    one_mode = centers[0] + 0.5 * torch.randn(200, 2)
    outliers = torch.cat([real[::2], 1e4 + torch.randn(100, 2)])
    precision, recall = d2l.precision_recall(real, one_mode)
    assert precision > 0.9
    assert 0.2 < recall <= 0.5
    precision, recall = d2l.precision_recall(real, outliers)
    assert precision == 0.5
    assert recall > 0.9


def test_nearest_finds_a_memorised_image():
    torch.manual_seed(0)
    real = torch.rand(20, 3, 8, 8)
    fake = torch.stack([real[7], real[3] + 0.1])
    index, distance = d2l.nearest(fake, real)
    assert index.tolist() == [7, 3]
    assert distance[0] < 1e-3
    assert distance[1] == pytest.approx(0.1, rel=1e-3)


# Second implementations --------------------------------------------------------------------------


def clouds(n, m, d, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), 0.5 + 1.5 * random.normal(size=(m, d))


def both(*arrays):
    return [torch.as_tensor(a) for a in arrays]


def test_linear_gaussian_is_exact_for_layers_multiplied_out():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    mean, cov = d2l.linear_gaussian(nn.Sequential(nn.Identity(), first, second))
    (A, a), (B, b) = ((layer.weight.detach(), layer.bias.detach()) for layer in (first, second))
    torch.testing.assert_close(mean, (B @ a + b).double())
    torch.testing.assert_close(cov, (B @ A @ A.T @ B.T).double())
    with pytest.raises(ValueError, match='made of linear layers'):
        d2l.linear_gaussian(nn.Sequential(nn.Conv2d(3, 4, 4)))


@pytest.mark.parametrize('k', [1, 2, 5])
@pytest.mark.parametrize(('n', 'm', 'd'), [(9, 14, 1), (14, 9, 2), (30, 7, 3)])
def test_sample_kl_agrees_with_scipys_neighbours(n, m, d, k):
    """d / n sum log(nu / rho) + log(m / (n - 1)), rho among the others of q, nu among p."""
    q, p = clouds(n, m, d)
    total = 0.0
    for i, point in enumerate(q):
        rho = cKDTree(np.delete(q, i, 0)).query(point, [k])[0][0]
        nu = cKDTree(p).query(point, [k])[0][0]
        total += math.log(nu / rho)
    assert d2l.sample_kl(*both(q, p), k) == pytest.approx(d * total / n + math.log(m / (n - 1)))


def test_sample_w2_agrees_with_all_assignments_tried():
    q, p = clouds(6, 6, 2)
    least = min(((q - p[list(order)]) ** 2).sum() for order in itertools.permutations(range(6)))
    assert d2l.sample_w2(*both(q, p)) == pytest.approx(math.sqrt(least / 6))


def test_frechet_distance_agrees_with_numpys_moments():
    real, fake = clouds(12, 20, 3)
    covs = [np.cov(features, rowvar=False) for features in (real, fake)]
    gap = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    cross = scipy.linalg.sqrtm(covs[0] @ covs[1]).real
    expected = gap + np.trace(covs[0] + covs[1] - 2 * cross)
    assert d2l.frechet_distance(*both(real, fake)) == pytest.approx(expected)


def test_filled_cells_agrees_with_a_counter():
    cells = np.random.default_rng(0).integers(0, 40, 300)
    for at_least in (1, 5, 8, 300):
        expected = sum(count >= at_least for count in Counter(cells.tolist()).values())
        assert d2l.filled_cells(torch.as_tensor(cells), at_least=at_least) == expected
    assert d2l.filled_cells(torch.tensor([3] * 10 + [4] * 9)) == 1, 'ten images by default'


@pytest.mark.parametrize('k', [1, 3, 4])
def test_precision_and_recall_agree_with_loops(k):
    real, fake = clouds(25, 18, 2)

    def share(points, others):
        count = 0
        for point in points:
            for i, other in enumerate(others):
                apart = sorted(math.dist(other, o) for j, o in enumerate(others) if j != i)
                if math.dist(point, other) <= apart[k - 1]:
                    count += 1
                    break
        return count / len(points)

    expected = share(fake, real), share(real, fake)
    assert d2l.precision_recall(*both(real, fake), k) == pytest.approx(expected)
    if k == 3:
        assert d2l.precision_recall(*both(real, fake)) == pytest.approx(expected)


def test_precision_and_recall_on_a_line_by_hand():
    """On 0, 1, 2, 3 with k = 1 all radii are 1; with k = 2 the ends reach 2."""
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    fake = torch.tensor([[-1.0], [-1.5], [4.5], [5.5]])
    assert d2l.precision_recall(real, fake, k=1)[0] == 0.25
    assert d2l.precision_recall(real, fake, k=2)[0] == 0.75


def test_nearest_agrees_with_loops():
    points, others = clouds(7, 11, 6)
    index, distance = d2l.nearest(*both(points.reshape(7, 2, 3), others.reshape(11, 2, 3)))
    for i, point in enumerate(points):
        apart = [math.sqrt(((point - other) ** 2).mean()) for other in others]
        assert index[i] == np.argmin(apart)
        assert distance[i].item() == pytest.approx(min(apart))


def test_sets_that_are_too_small_are_named():
    points = torch.randn(9, 2)
    with pytest.raises(ValueError, match=r'p must .* n of at least 6; got shape \(5, 2\)'):
        d2l.sample_kl(points, points[:5])
    assert math.isfinite(d2l.sample_kl(points, points[:6]))
    with pytest.raises(ValueError, match=r'fake must .* n of at least 4; got shape \(3, 2\)'):
        d2l.precision_recall(points, points[:3])
    assert d2l.precision_recall(points, points[:4])[0] == 1
    with pytest.raises(ValueError, match=r'q must .* got shape \(9, 2, 1\)'):
        d2l.sample_w2(points[:, :, None], points)
