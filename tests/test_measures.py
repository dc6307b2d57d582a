"""Measures against closed forms, SciPy and a published implementation; verdicts on real runs."""

import math

import pytest
import scipy.linalg
import torch
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


def test_coverage_counts_cells_with_enough_images():
    cells = torch.tensor([0] * 10 + [1] * 9 + [31] * 30)
    assert d2l.coverage(cells) == 2
    assert d2l.coverage(cells, at_least=9) == 3
    assert d2l.coverage(cells, at_least=1) == 3


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


@pytest.fixture(scope='module')
def sprites(tmp_path_factory):
    """Sprites in [-1, 1] with kinds and hues: 640 to train on, 640 fresh ones."""
    import torchvision

    sets = []
    for seed in (0, 1):
        folder = d2l.sprites(640, seed=seed, folder=tmp_path_factory.mktemp('s') / 'sprites')
        dataset = torchvision.datasets.ImageFolder(folder, torchvision.transforms.ToTensor())
        X = torch.stack([image for image, _ in dataset]) * 2 - 1
        kinds, hues = (torch.as_tensor(a) for a in d2l.sprite_labels(dataset.samples))
        sets.append((X, kinds, hues))
    return sets


@pytest.fixture(scope='module')
def encoder(sprites):
    X, kinds, hues = (torch.cat([a] * 4) for a in sprites[0])
    return d2l.train_encoder(X, kinds, hues)


def test_encoder_names_kind_and_hue_of_fresh_sprites(encoder, sprites):
    X, kinds, hues = sprites[1]
    right = encoder.cells(encoder.encode(X)) == 8 * kinds + hues
    assert right.double().mean() > 0.97


def test_encoder_is_deterministic_and_leaves_the_callers_randomness_alone(sprites):
    X, kinds, hues = (a[:128] for a in sprites[0])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (d2l.train_encoder(X, kinds, hues) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.encode(X), second.encode(X))


def test_sprite_encoder_is_kept_and_survives_a_damaged_file(sprites, tmp_path, monkeypatch):
    monkeypatch.setenv('D2L_GAN_DATA', str(tmp_path))
    X, kinds, hues = (a[:128] for a in sprites[0])
    first = d2l.sprite_encoder(X, kinds, hues).encode(X)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 500_000
    saved = path.stat().st_mtime_ns
    assert torch.equal(d2l.sprite_encoder(X, kinds, hues).encode(X), first)
    assert path.stat().st_mtime_ns == saved
    path.write_bytes(b'no weights')
    assert torch.equal(d2l.sprite_encoder(X, kinds, hues).encode(X), first)


@pytest.mark.parametrize('which', ['trained', 'random'])
def test_distance_grows_with_every_kind_of_damage(encoder, sprites, which):
    """Noise, missing kinds, one hue too many, a blur: each alone, and more of it is farther."""
    net = encoder if which == 'trained' else d2l.random_encoder()
    (X, kinds, hues), (fresh, _, _) = sprites
    real = net.encode(X)

    def distance(Y):
        return d2l.frechet_distance(real, net.encode(Y))

    floor = distance(fresh)
    noise = torch.randn_like(fresh)
    blurred = nn.functional.interpolate(nn.functional.avg_pool2d(fresh, 4), scale_factor=4)
    damages = {
        'noise': [fresh + a * noise for a in (0.2, 0.5)],
        'kinds': [X[kinds < 3], X[kinds < 1]],
        'hues': [X[hues < 4], X[hues < 1]],
        'blur': [(fresh + blurred) / 2, blurred],
    }
    for name, (less, more) in damages.items():
        assert floor < distance(less) < distance(more), name


# Verdicts, each on a run that really does it ------------------------------------------------------


def points(n=1000):
    A = torch.tensor([[1, 2], [-0.1, 0.5]])
    return torch.randn(n, 2) @ A + torch.tensor([1.0, 2.0])


def image_pair(n=8):
    """The two networks of chapter 2, for 16 x 16 pixels, with the book's initialisation."""
    net_G = nn.Sequential(
        nn.ConvTranspose2d(16, 2 * n, 4), nn.BatchNorm2d(2 * n), nn.ReLU(),
        nn.ConvTranspose2d(2 * n, n, 4, 2, 1), nn.BatchNorm2d(n), nn.ReLU(),
        nn.ConvTranspose2d(n, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    net_D = nn.Sequential(
        nn.Conv2d(3, n, 4, 2, 1), nn.BatchNorm2d(n), nn.LeakyReLU(0.2),
        nn.Conv2d(n, 2 * n, 4, 2, 1), nn.BatchNorm2d(2 * n), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * n, 1, 4),
    )  # fmt: skip
    for w in [*net_D.parameters(), *net_G.parameters()]:
        nn.init.normal_(w, 0, 0.02)
    return net_D, net_G


def point_pair(linear_D=False, start=None):
    net_D = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    net_G = nn.Sequential(nn.Linear(2, 2))
    if start is not None:
        nn.init.constant_(net_G[-1].bias, start)
    return nn.Linear(2, 1) if linear_D else net_D, net_G


def play(
    data, nets, noise, lr_D, lr_G, steps, loss_G=d2l.non_saturating, gamma=0.0, betas=(0.9, 0.999)
):
    """Train, and record the game 30 times."""
    net_D, net_G = nets
    trainer_D = torch.optim.Adam(net_D.parameters(), lr_D, betas=betas)
    trainer_G = torch.optim.Adam(net_G.parameters(), lr_G, betas=betas)
    softplus, history = nn.functional.softplus, []
    for step in range(steps):
        X = data[torch.randint(len(data), (32,))].requires_grad_()
        Z = torch.randn(32, *noise)
        real_Y, fake_Y = net_D(X), net_D(net_G(Z).detach())
        loss_D = (softplus(-real_Y).mean() + softplus(fake_Y).mean()) / 2
        if gamma:
            (grad,) = torch.autograd.grad(real_Y.sum(), X, create_graph=True)
            loss_D = loss_D + gamma / 2 * grad.square().flatten(1).sum(1).mean()
        trainer_D.zero_grad()
        loss_D.backward()
        trainer_D.step()
        trainer_G.zero_grad()
        loss_G(net_D(net_G(Z))).backward()
        trainer_G.step()
        if step % (steps // 30) == 0:
            record = d2l.observe(net_D, net_G, data[:256], torch.randn(256, *noise), loss_G)
            history.append(record)
    return history


def play_points(seed, linear_D=False, start=None, **settings):
    torch.manual_seed(seed)
    return play(points(), point_pair(linear_D, start), (2,), **settings)


def play_images(seed, sprites, **settings):
    torch.manual_seed(seed)
    data = nn.functional.avg_pool2d(sprites[0][0], 4)
    return play(data, image_pair(), (16, 1, 1), **settings)


RUNS = {
    'D has won': {'lr_D': 0.01, 'lr_G': 1e-5, 'steps': 600, 'start': 6.0},
    'G saturates': {
        'lr_D': 0.02, 'lr_G': 1e-3, 'steps': 600, 'start': 12.0, 'loss_G': d2l.saturating,
    },
    'samples collapsed': {'lr_D': 2e-4, 'lr_G': 2e-4, 'steps': 240, 'betas': (0.5, 0.999)},
    'oscillating': {'lr_D': 0.1, 'lr_G': 0.1, 'steps': 300, 'linear_D': True},
    'near equilibrium': {
        'lr_D': 0.01, 'lr_G': 0.005, 'steps': 1500, 'gamma': 0.1, 'betas': (0.5, 0.99),
    },
}  # fmt: skip


@pytest.mark.parametrize('verdict', RUNS)
def test_verdicts_on_runs_that_really_do_it(verdict, sprites):
    if verdict == 'samples collapsed':
        runs = [play_images(seed, sprites, **RUNS[verdict]) for seed in range(3)]
    else:
        runs = [play_points(seed, **RUNS[verdict]) for seed in range(3)]
    found = [d2l.diagnose(history) for history in runs]
    assert [diagnosis.verdict for diagnosis in found] == [verdict] * 3, found


def test_it_is_too_early_to_say():
    history = play_points(0, lr_D=0.01, lr_G=0.005, steps=30)[:4]
    diagnosis = d2l.diagnose(history)
    assert diagnosis.verdict == 'too early to say'
    assert '4 records' in str(diagnosis)


def test_observe_changes_neither_net():
    torch.manual_seed(0)
    net_D = nn.Sequential(nn.Conv2d(3, 4, 4), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 5))
    net_G = nn.Sequential(nn.ConvTranspose2d(2, 4, 4), nn.BatchNorm2d(4))
    net_G.append(nn.ConvTranspose2d(4, 3, 5))
    before = [v.clone() for net in (net_D, net_G) for v in net.state_dict().values()]
    X, Z = torch.randn(8, 3, 8, 8), torch.randn(8, 2, 1, 1)
    record = d2l.observe(net_D, net_G, X, Z)
    after = [v for net in (net_D, net_G) for v in net.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(w.grad is None for net in (net_D, net_G) for w in net.parameters())
    fake = net_G(Z)
    expected = nn.functional.softplus(-net_D(fake)).mean()
    assert record['loss_G'] == pytest.approx(expected.item(), rel=1e-5)
    grads = torch.autograd.grad(expected, list(net_G.parameters()))
    norm = torch.cat([g.flatten() for g in grads]).norm().item()
    assert record['grad_G'] == pytest.approx(norm, rel=1e-4)
    assert record['spread'] == pytest.approx(
        ((fake - fake.mean(0)).square().mean() / (X - X.mean(0)).square().mean()).sqrt().item(),
        rel=1e-4,
    )


def test_spread_of_points_is_that_of_the_direction_where_it_is_least():
    """A streak has collapsed, however long it is; turning or moving both changes nothing."""
    torch.manual_seed(0)
    X, Z = torch.randn(400, 2) * torch.tensor([3.0, 1.0]), torch.randn(400, 2)
    turn = torch.linalg.qr(torch.randn(2, 2)).Q
    for stretch, least in (((3.0, 1.0), 1.0), ((6.0, 0.1), 0.1), ((0.3, 1.0), 0.1)):
        net_G = nn.Linear(2, 2)
        with torch.no_grad():
            net_G.weight.copy_(turn.T @ torch.diag(torch.tensor(stretch)))
            net_G.bias.copy_(torch.tensor([5.0, -5.0]))
        seen = d2l.observe(nn.Linear(2, 1), net_G, X @ turn, Z)
        assert seen['spread'] == pytest.approx(least, rel=0.2)


def test_d_is_fooled_where_it_takes_fakes_for_real():
    record = {'D_real': 0.6, 'D_fake': 0.8, 'pull': 0.2, 'spread': 1.0}
    diagnosis = d2l.diagnose([record] * 6)
    assert diagnosis.verdict == 'D is fooled' and 'let D learn' in diagnosis.advice
    assert d2l.diagnose([record | {'D_fake': 0.62}] * 6).verdict == 'near equilibrium'


def test_a_cloud_that_opens_up_has_not_collapsed():
    even = {'D_real': 0.5, 'D_fake': 0.5, 'pull': 0.5}

    def verdict(spreads):
        return d2l.diagnose([even | {'spread': spread} for spread in spreads]).verdict

    assert verdict([0.02 * i for i in range(15)]) != 'samples collapsed'
    assert verdict([0.3 - 0.02 * i for i in range(15)]) == 'samples collapsed'
    assert verdict([0.25] * 15) == 'samples collapsed'
    assert verdict([0.01 * i for i in range(15)]) == 'samples collapsed'  # still next to nothing


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
    with pytest.raises(ValueError, match='more than k = 5 points; got 5 and 3000'):
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


def test_observe_reads_a_paired_game_by_differences():
    net_D, net_G = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for net, weight, bias in ((net_D, 2.0, 50.0), (net_G, 1.0, 0.5)):
            net.weight.fill_(weight)
            net.bias.fill_(bias)
    X, Z = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    gap = torch.tensor([1.0, 1.0])  # 2 x - 2 (z + 0.5), whatever D's bias
    seen = d2l.observe(net_D, net_G, X, Z, paired=True)
    assert seen['D_real'] == pytest.approx(gap.sigmoid().mean().item())
    assert seen['D_fake'] == pytest.approx(1 - seen['D_real'])
    assert seen['loss_D'] == pytest.approx(nn.functional.softplus(-gap).mean().item())
    assert seen['loss_G'] == pytest.approx(nn.functional.softplus(gap).mean().item())
    assert seen['pull'] == pytest.approx(gap.sigmoid().mean().item())
    # Of -log sigmoid(gap) in D's weight: (1 - sigmoid) (x' - x), the bias does not matter.
    slope = ((1 - gap.sigmoid()) * torch.tensor([-0.5, -0.5])).mean().abs().item()
    assert seen['grad_D'] == pytest.approx(slope, rel=1e-5)
