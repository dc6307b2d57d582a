"""What `observe` sees, against formulas by hand; verdicts on real runs and at every threshold."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

import d2l_gan as d2l


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
    data, nets, noise, lr_D, lr_G, steps, name='non-saturating', gamma=0.0, betas=(0.9, 0.999)
):
    """Train, and record the game 30 times."""
    net_D, net_G = nets
    trainer_D = torch.optim.Adam(net_D.parameters(), lr_D, betas=betas)
    trainer_G = torch.optim.Adam(net_G.parameters(), lr_G, betas=betas)
    loss, history = d2l.LOSSES[name], []
    for step in range(steps):
        X = data[torch.randint(len(data), (32,))].requires_grad_()
        Z = torch.randn(32, *noise)
        real_Y, fake_Y = net_D(X), net_D(net_G(Z).detach())
        loss_D = loss.D(real_Y, fake_Y)
        if gamma:
            (grad,) = torch.autograd.grad(real_Y.sum(), X, create_graph=True)
            loss_D = loss_D + gamma / 2 * grad.square().flatten(1).sum(1).mean()
        trainer_D.zero_grad()
        loss_D.backward()
        trainer_D.step()
        trainer_G.zero_grad()
        loss.G(real_Y.detach(), net_D(net_G(Z))).backward()
        trainer_G.step()
        if step % (steps // 30) == 0:
            record = d2l.observe(net_D, net_G, data[:256], torch.randn(256, *noise), loss)
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
        'lr_D': 0.02, 'lr_G': 1e-3, 'steps': 600, 'start': 12.0, 'name': 'saturating',
    },
    'samples collapsed': {'lr_D': 2e-4, 'lr_G': 2e-4, 'steps': 240, 'betas': (0.5, 0.999)},
    'oscillating': {'lr_D': 0.1, 'lr_G': 0.1, 'steps': 300, 'linear_D': True},
    'near equilibrium': {
        'lr_D': 0.01, 'lr_G': 0.005, 'steps': 1500, 'gamma': 0.1, 'betas': (0.5, 0.99),
    },
}  # fmt: skip


@pytest.mark.slow
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
    assert '4 of the 5 records' in str(diagnosis)


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


def test_observe_reads_a_paired_game_by_differences():
    net_D, net_G = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for net, weight, bias in ((net_D, 2.0, 50.0), (net_G, 1.0, 0.5)):
            net.weight.fill_(weight)
            net.bias.fill_(bias)
    X, Z = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    gap = torch.tensor([1.0, 1.0])  # 2 x - 2 (z + 0.5), whatever D's bias
    seen = d2l.observe(net_D, net_G, X, Z, d2l.LOSSES['relativistic + R1'])
    assert seen['D_real'] == pytest.approx(gap.sigmoid().mean().item())
    assert seen['D_fake'] == pytest.approx(1 - seen['D_real'])
    assert seen['loss_D'] == pytest.approx(nn.functional.softplus(-gap).mean().item())
    assert seen['loss_G'] == pytest.approx(nn.functional.softplus(gap).mean().item())
    assert seen['pull'] == pytest.approx(gap.sigmoid().mean().item())
    # Of -log sigmoid(gap) in D's weight: (1 - sigmoid) (x' - x), the bias does not matter.
    slope = ((1 - gap.sigmoid()) * torch.tensor([-0.5, -0.5])).mean().abs().item()
    assert seen['grad_D'] == pytest.approx(slope, rel=1e-5)


def numeric_norm(value, net):
    """Norm of the gradient of `value()` in the weights of `net`, by central differences."""
    total, h = 0.0, 1e-5
    for w in net.parameters():
        for i in range(w.numel()):
            flat = w.data.view(-1)
            before, ends = flat[i].item(), []
            for step in (h, -h):
                flat[i] = before + step
                ends.append(value().item())
            flat[i] = before
            total += ((ends[0] - ends[1]) / (2 * h)) ** 2
    return total**0.5


def hinge():
    """The loss of SAGAN: a stranger to the house."""
    relu = nn.functional.relu
    return d2l.Loss(
        'margins of 1',
        D=lambda real_Y, fake_Y: relu(1 - real_Y).mean() + relu(1 + fake_Y).mean(),
        G=lambda real_Y, fake_Y: -fake_Y.mean(),
    )


@pytest.mark.parametrize('name', [*d2l.LOSSES, 'a stranger'])
def test_observe_agrees_with_numeric_gradients_for_every_loss(name, monkeypatch):
    """A new loss is one entry: `observe` and `diagnose` take it as it is."""
    monkeypatch.setitem(d2l.LOSSES, 'a stranger', hinge())
    loss = d2l.LOSSES[name]
    torch.manual_seed(0)
    net_D = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    net_G = nn.Linear(2, 2).double()
    X, Z = torch.randn(6, 2).double(), torch.randn(6, 2).double()

    def logits():
        return net_D(X), net_D(net_G(Z))

    with torch.no_grad():
        real_Y, fake_Y = logits()
        seen = d2l.observe(net_D, net_G, X, Z, loss)
        assert seen['loss_D'] == pytest.approx(loss.D(real_Y, fake_Y).item())
        assert seen['loss_G'] == pytest.approx(loss.G(real_Y, fake_Y).item())
        gap = real_Y - fake_Y if loss.compares else real_Y
        assert seen['D_real'] == pytest.approx((1 / (1 + (-gap).exp())).mean().item())
        gap = fake_Y - real_Y if loss.compares else fake_Y
        assert seen['D_fake'] == pytest.approx((1 / (1 + (-gap).exp())).mean().item())
        for player, net in (('D', net_D), ('G', net_G)):
            norm = numeric_norm(lambda p=player: getattr(loss, p)(*logits()), net)
            assert seen[f'grad_{player}'] == pytest.approx(norm, rel=1e-4)
        pull = 0.0
        for i in range(6):
            ends = []
            for h in (1e-5, -1e-5):
                moved = fake_Y.clone()
                moved[i] += h
                ends.append(loss.G(real_Y, moved).item())
            pull += abs(ends[0] - ends[1]) / 2e-5
        assert seen['pull'] == pytest.approx(pull, rel=1e-4)
    verdict = d2l.diagnose([seen] * 6)
    assert verdict == d2l.diagnose(
        [{k: seen[k] for k in ('D_real', 'D_fake', 'pull', 'spread')}] * 6
    )


def test_observe_takes_chapter_1s_loss_unless_told():
    net_D, net_G = point_pair()
    X, Z = torch.randn(8, 2), torch.randn(8, 2)
    expected = d2l.observe(net_D, net_G, X, Z, d2l.LOSSES['non-saturating'])
    assert d2l.observe(net_D, net_G, X, Z) == expected


@pytest.mark.parametrize(('n', 'd'), [(80, 2), (80, 10), (80, 11)])
def test_spread_agrees_with_scipys_generalised_eigenvalues(n, d):
    """The least of fake against real covariance; of images, with few of them, all variance."""
    torch.manual_seed(0)
    X, Z = torch.randn(n, d) @ torch.randn(d, d) + 3, torch.randn(n, 2)
    net_G = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, d))
    fake = net_G(Z).detach()
    covs = [np.cov(a.double().numpy(), rowvar=False) for a in (fake, X)]
    if d <= n // 8:
        covs[1] += 1e-6 * np.trace(covs[1]) * np.eye(d)
        expected = scipy.linalg.eigh(*covs, eigvals_only=True)[0] ** 0.5
    else:
        expected = (np.trace(covs[0]) / np.trace(covs[1])) ** 0.5
    assert d2l.observe(nn.Linear(d, 1), net_G, X, Z)['spread'] == pytest.approx(expected, rel=1e-4)


EVEN = {'D_real': 0.5, 'D_fake': 0.5, 'pull': 0.5, 'spread': 1.0}


@pytest.mark.parametrize(
    ('figures', 'inside', 'outside', 'verdict', 'otherwise'),
    [
        ({'pull': 0.1, 'D_real': 0.5}, {'D_fake': 0.149}, {'D_fake': 0.151},
         'G saturates', 'too early to say'),
        ({'D_fake': 0.1, 'D_real': 0.5}, {'pull': 0.149}, {'pull': 0.151},
         'G saturates', 'too early to say'),
        ({}, {'spread': 0.349}, {'spread': 0.351}, 'samples collapsed', 'near equilibrium'),
        ({'D_fake': 0.02, 'spread': 0.1}, {'D_real': 0.969}, {'D_real': 0.971},
         'samples collapsed', 'D has won'),
        ({'D_fake': 0.3}, {'D_real': 0.751}, {'D_real': 0.749}, 'D has won', 'too early to say'),
        ({'D_real': 0.45}, {'D_fake': 0.601}, {'D_fake': 0.599}, 'D is fooled', 'near equilibrium'),
        ({}, {'D_real': 0.649}, {'D_real': 0.651}, 'near equilibrium', 'too early to say'),
        ({}, {'D_real': 0.351}, {'D_real': 0.349}, 'near equilibrium', 'D is fooled'),
        ({'D_real': 0.6}, {'D_fake': 0.351}, {'D_fake': 0.349},
         'near equilibrium', 'too early to say'),
    ],
)  # fmt: skip
def test_verdicts_on_both_sides_of_each_threshold(figures, inside, outside, verdict, otherwise):
    assert d2l.diagnose([EVEN | figures | inside] * 6).verdict == verdict
    assert d2l.diagnose([EVEN | figures | outside] * 6).verdict == otherwise


def verdict_of(key, values):
    return d2l.diagnose([EVEN | {key: value} for value in values]).verdict


def test_verdict_of_a_swing_needs_its_width_and_its_turns():
    assert verdict_of('D_fake', [0.249, 0.751] * 6) == 'oscillating'
    assert verdict_of('D_fake', [0.251, 0.749] * 6) != 'oscillating'
    steady = [i / 40 for i in range(30)]
    assert verdict_of('D_fake', [0.0] * 20 + [i / 12 for i in range(10)]) != 'oscillating'
    assert verdict_of('D_fake', steady[:20] + [0.2, 0.8] * 5) == 'oscillating'
    # Of 22 records 20 could turn: two of them are a tenth, three are more.
    flat = [0.1] * 17
    assert verdict_of('D_fake', [*flat, 0.1, 0.9, 0.9, 0.9, 0.9]) != 'oscillating'
    assert verdict_of('D_fake', [*flat, 0.1, 0.9, 0.9, 0.9, 0.1]) == 'oscillating'


def test_verdict_of_a_run_rests_on_its_last_third_and_at_least_four_records():
    low, high = 0.1, 1.0
    assert verdict_of('spread', [low] * 20 + [high] * 10) == 'near equilibrium'
    assert verdict_of('spread', [high] * 20 + [low] * 10) == 'samples collapsed'
    # Of four, (1 + 3 x 0.1) / 4 is below 0.35 and (1.5 + 3 x 0.1) / 4 above; of five or three, not.
    assert verdict_of('spread', [high] * 2 + [low] * 3) == 'samples collapsed'
    assert verdict_of('spread', [1.5 * high] * 2 + [low] * 3) == 'near equilibrium'
    assert d2l.diagnose([EVEN] * 5).verdict == 'near equilibrium'
    assert d2l.diagnose([EVEN] * 4).verdict == d2l.diagnose([]).verdict == 'too early to say'


def test_verdict_of_a_cloud_that_opens_up_needs_growth_size_and_twelve_records():
    for before, after, verdict in (
        (0.2, 0.241, 'near equilibrium'), (0.2, 0.239, 'samples collapsed'),
        (0.01, 0.151, 'near equilibrium'), (0.01, 0.149, 'samples collapsed'),
    ):  # fmt: skip
        assert verdict_of('spread', [before] * 8 + [after] * 4) == verdict
    assert verdict_of('spread', [0.01] * 7 + [0.2] * 4) == 'samples collapsed'


def test_advice_on_a_collapse_depends_on_who_is_ahead():
    for D_real, word in ((0.69, 'D is behind'), (0.71, 'Hold D back')):
        said = d2l.diagnose([EVEN | {'spread': 0.1, 'D_real': D_real}] * 6)
        assert said.verdict == 'samples collapsed' and word in said.advice
    assert str(said) == f'{said.verdict}: {said.evidence}. {said.advice}'


def test_advice_where_it_is_too_early_depends_on_why():
    few, undecided = d2l.diagnose([EVEN] * 4), d2l.diagnose([EVEN | {'D_real': 0.7}] * 6)
    assert few.verdict == undecided.verdict == 'too early to say'
    assert few.advice == 'Train on, and record as you go.'
    assert undecided.advice == 'Train on, then ask again.'
