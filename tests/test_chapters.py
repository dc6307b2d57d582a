"""What the notebooks define in view, taken out of their cells and tested on its own."""

import pytest
import scipy.ndimage
import torch
from cells import defined_in, sources
from torch import nn

import d2l_gan as d2l


@pytest.fixture(autouse=True)
def quiet_figures():
    d2l.plt.switch_backend('agg')
    with d2l.plt.rc_context():
        yield
    d2l.plt.close('all')


@pytest.fixture
def dcgan():
    return defined_in(
        '02_dcgan',
        'g-block-def',
        'd-block-def',
        'net-g-def',
        'net-d-def',
        latent_dim=100,
        n_D=4,
        n_G=4,
    )


def test_G_block_is_transposed_convolution_batch_norm_relu(dcgan):
    block = dcgan['G_block'](5)
    X = torch.randn(2, 3, 16, 16)
    conv = nn.functional.conv_transpose2d(X, block.conv2d_trans.weight, stride=2, padding=1)
    mean, var = conv.mean((0, 2, 3), keepdim=True), conv.var((0, 2, 3), keepdim=True, correction=0)
    expected = ((conv - mean) / (var + 1e-5).sqrt()).relu()
    torch.testing.assert_close(block(X), expected, atol=1e-4, rtol=1e-4)
    assert block.conv2d_trans.bias is None


@pytest.mark.parametrize('alpha', [0.0, 0.2, 0.7])
def test_D_block_is_convolution_batch_norm_leaky_relu(dcgan, alpha):
    block = dcgan['D_block'](5, alpha=alpha)
    X = torch.randn(2, 3, 16, 16)
    conv = nn.functional.conv2d(X, block.conv2d.weight, stride=2, padding=1)
    mean, var = conv.mean((0, 2, 3), keepdim=True), conv.var((0, 2, 3), keepdim=True, correction=0)
    normal = (conv - mean) / (var + 1e-5).sqrt()
    expected = torch.where(normal > 0, normal, alpha * normal)
    torch.testing.assert_close(block(X), expected, atol=1e-4, rtol=1e-4)
    assert dcgan['D_block'](5).activation.negative_slope == 0.2


@pytest.mark.parametrize(
    ('name', 'settings', 'side', 'expected'),
    [
        ('G_block', {}, 16, 32),
        ('G_block', {'strides': 1, 'padding': 0}, 1, 4),
        ('G_block', {'kernel_size': 3, 'strides': 3, 'padding': 2}, 7, 17),
        ('D_block', {}, 16, 8),
        ('D_block', {'kernel_size': 5, 'strides': 3, 'padding': 2}, 16, 6),
    ],
)
def test_blocks_have_the_side_of_the_formula(dcgan, name, settings, side, expected):
    out = dcgan[name](20, **settings)(torch.zeros(2, 3, side, side))
    assert out.shape == (2, 20, expected, expected)


def test_networks_have_five_convolutions_and_the_right_ends(dcgan):
    net_G, net_D = dcgan['net_G'], dcgan['net_D']
    assert net_G(torch.zeros(2, 100, 1, 1)).shape == (2, 3, 64, 64)
    assert net_D(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 1, 1)
    for net, kind in ((net_G, nn.ConvTranspose2d), (net_D, nn.Conv2d)):
        assert sum(isinstance(m, kind) for m in net.modules()) == 5
        assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 4
    assert isinstance(net_G[-1], nn.Tanh)


class Spy(nn.Module):
    """Passes on what its network says, and remembers what came in."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, X):
        self.seen.append(X.detach().clone())
        return self.net(X)


def chapter_1():
    names = defined_in('01_basic_gan', 'update-D', 'update-G', 'show-points', 'train')
    data = torch.randn(24, 2)
    nets = nn.Linear(2, 1), nn.Linear(2, 2)
    rest = {'lr_D': 0.05, 'lr_G': 0.005, 'latent_dim': 2, 'data': data}
    return names['train'], nets, d2l.load_array((data,), 8), rest, (0.05, 0.005), (0.9, 0.999)


def chapter_2():
    names = defined_in('02_dcgan', 'show-mosaic', 'train', device=torch.device('cpu'))
    net_D = nn.Conv2d(3, 1, 8)
    net_G = nn.Sequential(nn.ConvTranspose2d(5, 3, 8), nn.BatchNorm2d(3), nn.Tanh())
    batches = d2l.load_array((torch.rand(24, 3, 8, 8), torch.zeros(24)), 8)
    rest = {'lr': 0.0002, 'latent_dim': 5}
    return names['train'], (net_D, net_G), batches, rest, (0.0002, 0.0002), (0.5, 0.999)


@pytest.mark.parametrize('chapter', [chapter_1, chapter_2])
def test_train_plays_the_game_of_its_chapter(chapter, monkeypatch, capsys):
    train, (net_D, net_G), data_iter, rest, lrs, betas = chapter()
    for w in [*net_D.parameters(), *net_G.parameters()]:
        nn.init.constant_(w, 5.0)
    spy_D, spy_G = Spy(net_D), Spy(net_G)
    made, start = [], []

    class Adam(torch.optim.Adam):
        def __init__(self, params, **settings):
            super().__init__(params, **settings)
            made.append(self)
            start.extend(w.detach().clone() for group in self.param_groups for w in group['params'])

    monkeypatch.setattr(torch.optim, 'Adam', Adam)
    monkeypatch.setattr(d2l, 'observe', lambda *_: {})  # it looks at the networks once an epoch
    torch.manual_seed(0)
    loss_D, loss_G, *_ = train(spy_D, spy_G, data_iter, num_epochs=2, **rest)

    assert [trainer.defaults['lr'] for trainer in made] == list(lrs)
    assert all(tuple(trainer.defaults['betas']) == betas for trainer in made)
    assert max(w.abs().max() for w in start) < 0.1, 'weights did not start from N(0, 0.02)'
    noise = [Z for Z in spy_G.seen if len(Z) == 8]
    assert len(noise) == 2 * 6, 'one step of D and one of G for each of 6 batches'
    steps = noise[::2]
    assert all(not torch.equal(a, b) for i, a in enumerate(steps) for b in steps[:i])
    assert torch.cat(steps).mean().abs() < 0.5
    assert 0.7 < torch.cat(steps).std() < 1.3
    assert 0 < loss_D < 3
    assert 0 < loss_G < 3
    out = capsys.readouterr().out
    assert out.startswith(f'loss_D {loss_D:.3f}, loss_G {loss_G:.3f}, ')
    assert 'examples/sec' in out


def test_train_of_chapter_1_reports_the_mean_loss_of_the_last_epoch(monkeypatch):
    train, (net_D, net_G), data_iter, rest, _, _ = chapter_1()
    monkeypatch.setattr(torch.optim.Adam, 'step', lambda self: None)
    loss_D, loss_G = train(net_D, net_G, data_iter, num_epochs=1, **rest)
    assert loss_D == pytest.approx(0.693, abs=0.05)
    assert loss_G == pytest.approx(0.693, abs=0.05)


@pytest.mark.parametrize('chapter', [chapter_1, chapter_2])
def test_train_says_that_there_are_no_epochs(chapter):
    train, (net_D, net_G), data_iter, rest, _, _ = chapter()
    with pytest.raises(ValueError, match='num_epochs must be at least 1'):
        train(net_D, net_G, data_iter, num_epochs=0, **rest)


@pytest.mark.parametrize('chapter', [chapter_1, chapter_2])
def test_speed_counts_training_time_over_all_epochs(chapter, monkeypatch, capsys):
    train, (net_D, net_G), data_iter, rest, _, _ = chapter()
    monkeypatch.setattr(d2l.Timer, 'stop', lambda self: self.times.append(0.5))
    train(net_D, net_G, data_iter, num_epochs=3, **rest)
    assert f'{3 * 24 / 1.5:.1f} examples/sec' in capsys.readouterr().out


def test_64_gans_at_once_are_64_gans_alone():
    """The stacked networks compute, and learn, what each would alone."""
    torch.manual_seed(0)
    names = defined_in('01_basic_gan', 'stack')
    layers = names['stack'](2, 5, 3, 1)
    X = torch.randn(names['num_gans'], 8, 2)
    Y = names['run'](layers, X)
    Y.square().sum().backward()
    for i in (0, 17, 63):
        net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
        linear = [layer for layer in net if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, (W, c) in zip(linear, layers, strict=True):
                layer.weight.copy_(W[i].T)
                layer.bias.copy_(c[i, 0])
        torch.testing.assert_close(net(X[i]), Y[i])
        net(X[i]).square().sum().backward()
        for layer, (W, c) in zip(linear, layers, strict=True):
            torch.testing.assert_close(layer.weight.grad, W.grad[i].T)
            torch.testing.assert_close(layer.bias.grad, c.grad[i, 0])


def test_stacked_networks_start_as_pytorchs_do():
    torch.manual_seed(0)
    names = defined_in('01_basic_gan', 'stack')
    W, c = names['stack'](4, 50)[0]
    assert W.abs().max() <= 0.5 and c.abs().max() <= 0.5
    for w in (W, c):
        assert abs(w.std() - nn.Linear(4, 20000).weight.std()) < 0.01
    assert abs(names['stack'](4, 50, std=0.02)[0][0].std() - 0.02) < 0.001


def many_names(num_gans=4, **names):
    """What the cells of the 64 GANs define, for a few of them."""
    settings = {'num_epochs': 2, 'batch_size': 100, 'lr_D': 0.01, 'lr_G': 0.005} | names
    names = defined_in('01_basic_gan', 'data-draw', 'stack', **settings)
    names['num_gans'], names['target'] = num_gans, names['A'].T @ names['A']
    source = sources('01_basic_gan')
    for cell_id in ('many-data', 'play', 'many-step', 'many-loop', 'race'):
        exec(compile(source[cell_id], cell_id, 'exec'), names)
    return names


def test_the_yardstick_is_maximum_likelihood_on_each_gans_own_points():
    names = many_names()
    for points, kl in zip(names['many_points'], names['ml_kls'], strict=True):
        mean, covariance = points.mean(0), points.T.cov(correction=0)
        expected = d2l.gaussian_kl(mean, covariance, names['b'], names['target'])
        assert kl == pytest.approx(expected.item(), rel=1e-2)
    assert many_names(1000)['ml_kls'].mean() == pytest.approx(5 / 2000, rel=0.1)


@pytest.mark.parametrize('gamma', [0.0, 0.7])
@pytest.mark.parametrize('cost', [d2l.non_saturating, d2l.saturating])
def test_step_many_is_one_step_of_each_gan_alone(gamma, cost, monkeypatch):
    """Against the losses written out, with networks of PyTorch and plain gradient descent."""
    names = many_names()
    torch.manual_seed(0)
    nets = names['stack'](2, 5, 1), names['stack'](2, 2)
    X, Z = torch.randn(2, 4, 8, 2)
    single = []
    for i in range(4):
        net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
        net_G = nn.Sequential(nn.Linear(2, 2))
        for net, layers in zip((net_D, net_G), nets, strict=True):
            linear = [layer for layer in net if isinstance(layer, nn.Linear)]
            for layer, (W, c) in zip(linear, layers, strict=True):
                layer.weight.data, layer.bias.data = W[i].T.clone(), c[i, 0].clone()
        single.append((net_D, net_G))
    trainers = [torch.optim.SGD([w for layer in net for w in layer], 0.5) for net in nets]
    monkeypatch.setattr(torch, 'randn_like', lambda X: Z)
    losses = names['step_many'](*nets, *trainers, X.clone(), gamma, cost)
    assert losses.shape == (2, 4)

    log_sigmoid = nn.functional.logsigmoid
    for i, (net_D, net_G) in enumerate(single):
        real = X[i].clone().requires_grad_()
        fake, real_Y = net_G(Z[i]), net_D(real)
        loss_D = -(log_sigmoid(real_Y) + log_sigmoid(-net_D(fake.detach()))).mean() / 2
        assert losses[0, i] == pytest.approx(loss_D.item(), rel=1e-4)
        (slope,) = torch.autograd.grad(real_Y.sum(), real, create_graph=True)
        loss_D = loss_D + gamma / 2 * slope.square().sum(1).mean()
        for w, g in zip(
            net_D.parameters(), torch.autograd.grad(loss_D, net_D.parameters()), strict=True
        ):
            w.data -= 0.5 * g
        fake_Y = net_D(fake)
        assert losses[1, i] == pytest.approx(-log_sigmoid(fake_Y).mean().item(), rel=1e-4)
        grads = torch.autograd.grad(cost(fake_Y), net_G.parameters())
        for w, g in zip(net_G.parameters(), grads, strict=True):
            w.data -= 0.5 * g
        for net, layers in zip((net_D, net_G), nets, strict=True):
            linear = [layer for layer in net if isinstance(layer, nn.Linear)]
            for layer, (W, c) in zip(linear, layers, strict=True):
                torch.testing.assert_close(W[i].T, layer.weight, atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(c[i, 0], layer.bias, atol=1e-5, rtol=1e-4)


def test_train_many_learns_and_each_remedy_acts():
    def outcome(num_epochs=2, **changes):
        names = many_names(num_epochs=num_epochs)
        torch.manual_seed(0)
        return names['train_many']((2, 8, 1), **changes)

    plain = outcome()
    assert plain['last'].shape == plain['averaged'].shape == (4,)
    assert torch.equal(plain['last'], outcome()['last'])
    for change in ({'gamma': 1.0}, {'decay': True}, {'betas': (0.5, 0.9)}):
        assert not torch.allclose(plain['last'], outcome(**change)['last'], rtol=1e-4), change
    slower = outcome(half_life=1000)
    assert torch.equal(plain['last'], slower['last'])
    assert not torch.equal(plain['averaged'], outcome(half_life=1)['averaged'])
    long = outcome(num_epochs=150, gamma=0.2, decay=True, betas=(0.5, 0.99))
    assert (long['last'] < plain['last'] / 2).all()
    assert (long['averaged'] < plain['averaged'] / 2).all()


def test_train_many_decays_to_nothing_and_reports_the_losses_of_its_last_epoch():
    names, rates, shuffles = many_names(), [], []

    def spy(net_D, net_G, trainer_D, trainer_G, X, gamma):
        rates.append([t.param_groups[0]['lr'] for t in (trainer_D, trainer_G)])
        shuffles.append(X)
        return torch.full((2, 4), float(len(rates))) * torch.tensor([[1.0], [10.0]])

    names['step_many'] = spy
    losses = names['train_many']((2, 8, 1), decay=True)['losses']
    torch.testing.assert_close(losses[0], torch.full((4,), 15.5))
    torch.testing.assert_close(losses[1], torch.full((4,), 155.0))
    for step, (lr_D, lr_G) in enumerate(rates):
        assert lr_D == pytest.approx(0.01 * (1 - step / 20))
        assert lr_G == pytest.approx(0.005 * (1 - step / 20))
    for epoch in (shuffles[:10], shuffles[10:]):  # each point once
        seen = torch.cat(epoch, dim=1)[..., 0].sort(dim=1).values
        torch.testing.assert_close(seen, names['many_points'][..., 0].sort(dim=1).values)


def test_the_race_starts_far_away_and_reports_every_step():
    names = many_names()
    step = names['step_many']

    def spy(net_D, net_G, *args, **settings):
        losses = step(net_D, net_G, *args, **settings)
        names['last_W'] = net_G[0][0].detach().double()
        return losses

    names['step_many'] = spy
    for cost in (d2l.non_saturating, d2l.saturating):
        means, covariances = names['race'](cost, num_steps=3)
        assert means.shape == (3, 4, 2) and covariances.shape == (3, 4, 2, 2)
        assert (means - 8).abs().max() < 1
        assert not torch.equal(means[0], means[1])
        fakes = torch.randn(100_000, 2).double() @ names['last_W']
        torch.testing.assert_close(covariances[-1], fakes.mT @ fakes / 100_000, atol=0.1, rtol=0.1)
        # what the chapter calls place and shape add up to the whole
        whole = d2l.gaussian_kl(means, covariances, names['b'], names['target'])
        place, shape = (
            names['kl_of'](*m) for m in ((means, names['target']), (names['b'], covariances))
        )
        torch.testing.assert_close(place + shape, whole)


@pytest.fixture(scope='module')
def dirac():
    return defined_in('01_basic_gan', 'dirac')


@pytest.mark.parametrize('loss', ['minimax', 'non-saturating'])
@pytest.mark.parametrize('gamma', [0.0, 0.4])
def test_push_is_downhill_on_each_players_own_loss(dirac, loss, gamma):
    w, theta = (torch.tensor(v, requires_grad=True) for v in (0.7, -1.3))
    D_fake = torch.sigmoid(w * theta)
    cost_D = -(1 - D_fake).log() + gamma / 2 * w**2
    cost_G = (1 - D_fake).log() if loss == 'minimax' else -D_fake.log()
    (for_w,) = torch.autograd.grad(cost_D, w, retain_graph=True)
    (for_theta,) = torch.autograd.grad(cost_G, theta)
    push = dirac['push'](w.detach(), theta.detach(), loss, gamma)
    torch.testing.assert_close(torch.stack(push), -torch.stack([for_w, for_theta]))


def test_walk_takes_turns():
    """By hand: from (0, 1) D goes to -0.1 / 2; then G follows the new D, to 1 - 0.1 * 0.05 s."""
    names = defined_in('01_basic_gan', 'dirac')
    path = names['walk'](torch.tensor(0.0), torch.tensor(1.0), 'minimax', 0.0, 1)
    s = torch.sigmoid(torch.tensor(-0.05))
    torch.testing.assert_close(path, torch.stack([
        torch.tensor([0.0, 1.0]), torch.stack([torch.tensor(-0.05), 1 - 0.005 * s]),
    ]))  # fmt: skip
    for angle in torch.arange(5) * torch.pi / 2.5:
        start = 1.5 * angle.cos(), 1.5 * angle.sin()
        radius = [names['walk'](*start, *game, 1000).norm(dim=1) / 1.5
                  for game in names['games'].values()]  # fmt: skip
        assert radius[0].min() > 0.8 and radius[0].max() < 1.25
        assert 0.1 < radius[1][-1] < 0.5
        assert radius[2][-1] < 0.01


def pair_of_nets():
    net_D = nn.Sequential(nn.Conv2d(3, 1, 8))
    net_G = nn.Sequential(nn.ConvTranspose2d(5, 3, 8), nn.BatchNorm2d(3), nn.Tanh())
    return net_D, net_G


PAIRED = d2l.LOSSES['relativistic + R1']


@pytest.mark.parametrize('paired', [False, True])
def test_play_is_the_step_of_chapter_1_with_another_loss(paired):
    """Against the loss written out, both weights and the order of the two steps."""
    play = defined_in('02_dcgan', 'r1', 'pair', 'play')['play']
    torch.manual_seed(0)
    (net_D, net_G), X, Z = pair_of_nets(), torch.rand(4, 3, 8, 8), torch.randn(4, 5, 1, 1)
    copies = [nn.Sequential(*net) for net in pair_of_nets()]
    for net, other in zip((net_D, net_G), copies, strict=True):
        other.load_state_dict(net.state_dict())
    trainers = [torch.optim.SGD(net.parameters(), 0.1) for net in (net_D, net_G)]
    loss = PAIRED if paired else d2l.LOSSES['non-saturating']
    play(X.clone(), net_G(Z), net_D, net_G, *trainers, loss, 0.5)

    other_D, other_G = copies
    log_sigmoid = nn.functional.logsigmoid
    X, fake = X.clone().requires_grad_(), other_G(Z)
    real_Y, fake_Y = other_D(X), other_D(fake.detach())
    if paired:
        loss = -log_sigmoid(real_Y - fake_Y).mean()
    else:
        loss = -(log_sigmoid(real_Y) + log_sigmoid(-fake_Y)).mean() / 2
    (slope,) = torch.autograd.grad(real_Y.sum(), X, create_graph=True)
    loss = loss + 0.25 * slope.square().sum((1, 2, 3)).mean()
    for w, g in zip(
        other_D.parameters(), torch.autograd.grad(loss, other_D.parameters()), strict=True
    ):
        w.data -= 0.1 * g
    gap = other_D(fake) - (real_Y.detach() if paired else 0)  # the real ones are judged once
    grads = torch.autograd.grad(-log_sigmoid(gap).mean(), other_G.parameters())
    for w, g in zip(other_G.parameters(), grads, strict=True):
        w.data -= 0.1 * g
    for net, other in zip((net_D, net_G), copies, strict=True):
        for a, b in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def fit_and_nets(**names):
    """`fit` of chapter 2, and what it needs; small enough for a test."""
    names = defined_in(
        '02_dcgan', 'r1', 'pair', 'blur', 'play', 'start-run', 'one-epoch', 'fit',
        latent_dim=5, device=torch.device('cpu'), **names,
    )  # fmt: skip
    torch.manual_seed(0)
    data = torch.rand(40, 3, 8, 8), torch.zeros(40)
    return names, (*pair_of_nets(), d2l.load_array(data, 4))


def test_fit_decays_penalises_lazily_averages_and_keeps_snapshots():
    names, (net_D, net_G, batches) = fit_and_nets()
    steps, play = [], names['play']

    def spy(X, fake_X, net_D, net_G, trainer_D, trainer_G, loss, gamma):
        steps.append((trainer_D.param_groups[0]['lr'], trainer_G.param_groups[0]['lr'], gamma))
        play(X, fake_X, net_D, net_G, trainer_D, trainer_G, loss, gamma)

    names['play'] = spy
    mean_G, snapshots = names['fit'](net_D, net_G, batches, 0.01, 2, loss=PAIRED, gamma=0.3)
    assert len(steps) == 20
    assert [gamma for _, _, gamma in steps] == pytest.approx(
        [1.2, 0, 0, 0, 1.2, 0, 0, 0, 1.2, 0] * 2
    )
    rates = [lr for lr, _, _ in steps]
    assert rates == [lr for _, lr, _ in steps]
    assert rates[:11] == [0.01] * 11
    assert rates[15] == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0.001)
    assert len(snapshots) == 2
    assert snapshots[0].shape == (8, 3, 8, 8)
    assert not torch.equal(snapshots[0], snapshots[1])
    for a, b in zip(mean_G.parameters(), net_G.parameters(), strict=True):
        assert not torch.equal(a, b)


def test_fit_shows_both_players_images_blurred_at_first():
    names, (net_D, net_G, batches) = fit_and_nets()
    widths, images = [], []

    def spy_blur(X, sigma):
        widths.append(sigma)
        return X + 100 * len(widths)

    names['blur'], names['play'] = spy_blur, lambda X, fake_X, *_: images.append((X, fake_X))
    names['fit'](net_D, net_G, batches, 0.01, 2, sigma=3.0)
    assert widths[::2] == widths[1::2]
    assert widths[0] == 3
    assert widths[::2][6] == pytest.approx(1.5)
    assert widths[::2][12] == pytest.approx(0)
    assert max(widths[24:]) <= 1e-12
    for k, (X, fake_X) in enumerate(images):
        assert X.mean() == pytest.approx(100 * (2 * k + 1), abs=2)
        assert fake_X.detach().mean() == pytest.approx(100 * (2 * k + 2), abs=2)


def test_fit_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(tmp_path):
    names, (net_D, net_G, batches) = fit_and_nets()
    fit, settings = names['fit'], {'loss': PAIRED, 'gamma': 0.3}
    start = net_D.state_dict(), net_G.state_dict()

    def run(**more):
        nets = pair_of_nets()
        for net, state in zip(nets, start, strict=True):
            net.load_state_dict(state)
        torch.manual_seed(1)
        mean_G, snapshots = fit(*nets, batches, 0.01, 3, **settings, **more)
        return mean_G.state_dict(), snapshots

    whole, snapshots = run()
    assert len(run(checkpoint=tmp_path / 'run.pt', sitting=1)[1]) == 1
    torch.rand(3)
    resumed, others = fit(*pair_of_nets(), batches, 0.01, 3, **settings,
                          checkpoint=tmp_path / 'run.pt')  # fmt: skip
    assert len(others) == 3
    assert all(torch.equal(a, b) for a, b in zip(snapshots, others, strict=True))
    assert all(torch.equal(whole[key], value) for key, value in resumed.state_dict().items())


@pytest.mark.parametrize('sigma', [0.4, 1.3, 3.0])
def test_blur_is_scipys_gaussian_filter(sigma):
    X = torch.rand(2, 3, 32, 32)

    def smooth(images):
        images = images.numpy()
        return scipy.ndimage.gaussian_filter(
            images, (0, 0, sigma, sigma), mode='constant', truncate=12
        )

    expected = smooth(X) / smooth(torch.ones_like(X))  # an average over what lies in the image
    torch.testing.assert_close(d2l.blur(X, sigma), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert d2l.blur(X, 0.1) is X
    assert d2l.blur(X, -1) is X


def test_smooth_kernel_is_nearest_neighbour_then_convolution():
    names = defined_in('02_dcgan', 'smooth')
    W, X = torch.randn(5, 7, 3, 3).double(), torch.randn(2, 5, 6, 6).double()
    folded = nn.functional.conv_transpose2d(X, names['Smooth']()(W), stride=2, padding=1)
    doubled = nn.functional.interpolate(X, scale_factor=2, mode='nearest')
    plain = nn.functional.conv2d(doubled, W.transpose(0, 1).flip(2, 3), padding=1)
    torch.testing.assert_close(folded, plain)


def test_smooth_kernels_start_at_hes_scale(dcgan):
    names = defined_in('02_dcgan', 'he', 'smooth')
    block = dcgan['G_block'](64, in_channels=64)
    X = torch.randn(4, 64, 16, 16)
    names['he_init'](block)
    before = block.conv2d_trans(X).std()
    names['smooth_kernels'](block)
    assert block.conv2d_trans.parametrizations.weight.original.shape == (64, 64, 3, 3)
    assert 0.9 * before < block.conv2d_trans(X).std() < 1.1 * before


def test_make_nets_leaves_out_what_it_is_told_to(dcgan):
    names = defined_in('02_dcgan', 'he', 'r1', 'pair', 'play', 'smooth', 'free', 'make-nets',
                       **{k: dcgan[k] for k in ('net_D', 'net_G')})  # fmt: skip
    for free in (False, True):
        for smooth in (False, True):
            net_D, net_G = names['make_nets'](smooth=smooth, free=free)
            tied = [nn.utils.parametrize.is_parametrized(m) for m in net_G.modules()]
            assert sum(tied) == (4 if smooth else 0)
            assert isinstance(net_D[0].batch_norm, nn.Identity) == free
            assert (net_D[0].conv2d.bias is not None) == free
            assert net_D(net_G(torch.randn(2, 100, 1, 1))).shape == (2, 1, 1, 1)
    assert not isinstance(dcgan['net_D'][0].batch_norm, nn.Identity), 'the first ones are kept'


def test_settled_gives_one_noise_vector_one_image(dcgan):
    names = defined_in('02_dcgan', 'generate', 'sure-cells', 'score', latent_dim=100,
                       device=torch.device('cpu'))  # fmt: skip
    net_G = dcgan['net_G']
    before = {name: value.clone() for name, value in net_G.state_dict().items()}
    settled = names['settled'](net_G)
    Z = torch.randn(8, 100, 1, 1)
    torch.testing.assert_close(settled(Z)[:3], settled(Z[:3]), atol=1e-5, rtol=1e-4)
    for name, value in net_G.state_dict().items():
        assert torch.equal(before[name], value), name
    torch.manual_seed(0)
    fresh = net_G[0].conv2d_trans(torch.randn(4096, 100, 1, 1)).mean((0, 2, 3))
    torch.testing.assert_close(settled[0].batch_norm.running_mean, fresh, atol=0.3, rtol=0)


def test_sure_cells_counts_only_what_the_encoder_is_sure_of():
    count = defined_in('02_dcgan', 'sure-cells')['sure_cells']

    class Encoder:
        """Reads both names off the features: the logits of 4 kinds, then of 8 hues."""

        def kind(self, features):
            return features[:, :4]

        def hue(self, features):
            return features[:, 4:]

        def cells(self, features):
            return self.kind(features).argmax(1) * 8 + self.hue(features).argmax(1)

    kinds, hues = torch.arange(320) % 4, torch.arange(320) // 4 % 8
    sure = torch.cat([torch.eye(4)[kinds], torch.eye(8)[hues]], dim=1) * 20
    assert count(Encoder(), sure) == 32
    assert count(Encoder(), sure, at_least=11) == 0, 'ten in each'
    for unsure in (slice(0, 4), slice(4, 12)):  # the kind, then the hue
        doubtful = sure.clone()
        doubtful[kinds == 0, unsure] /= 20
        assert count(Encoder(), doubtful) == 24
        assert len(Encoder().cells(doubtful).unique()) == 32


def test_copying_is_even_for_new_images_and_one_for_copies():
    copying = defined_in('02_dcgan', 'copying')['copying']
    torch.manual_seed(0)
    training, unseen, fresh = torch.randn(600, 2).split(200)
    share, within = copying(training, unseen, fresh)
    assert share == pytest.approx(0.5, abs=0.12)
    assert 150 < within <= 200
    assert copying(training, unseen, training + 1e-6)[0] > 0.95
    assert copying(training, unseen, fresh + 100)[1] == 0, 'nothing within reach'


def test_arc_keeps_to_the_sphere():
    names = defined_in('02_dcgan', latent_dim=5)
    source = sources('02_dcgan')['walk']
    exec(source[: source.index('def largest_step')], names)
    z0 = torch.tensor([3.0, 0.0]).reshape(2, 1, 1)
    z1 = torch.tensor([0.0, 3.0]).reshape(2, 1, 1)
    path = names['arc'](z0, z1, 5)
    torch.testing.assert_close(path.flatten(1).norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(path[0], z0)
    torch.testing.assert_close(path[-1], z1)
    torch.testing.assert_close(path[2].flatten(), torch.full((2,), 3 / 2**0.5))


@pytest.mark.parametrize(('granted', 'drawn'), [(None, 4096), (2**31, 2048), (2**33, 4096)])
def test_chapter_2_draws_half_the_creatures_where_a_hub_grants_2_GB(
    monkeypatch, tmp_path, granted, drawn
):
    folder, asked = d2l.sprites(32, folder=tmp_path / 'few'), []
    monkeypatch.delenv('MEM_LIMIT', raising=False)
    if granted:
        monkeypatch.setenv('MEM_LIMIT', str(granted))
    monkeypatch.setattr(d2l, 'sprites', lambda n: asked.append(n) or folder)
    assert len(defined_in('02_dcgan', 'switch')['images']) == 32
    assert asked == [drawn]
