"""One step of each player, against gradients worked out by hand."""

import copy

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

import d2l_gan as d2l
from d2l_gan.steps import at_rest, first_layer

LR = 0.1


def linear_pair():
    """D(x) = sigmoid(a . x + b) and G(z) = z + c: every gradient fits on one line."""
    net_D, net_G = nn.Linear(2, 1), nn.Linear(2, 2)
    with torch.no_grad():
        net_D.weight.copy_(torch.tensor([[0.5, -1.0]]))
        net_D.bias.fill_(0.25)
        net_G.weight.copy_(torch.eye(2))
        net_G.bias.copy_(torch.tensor([1.0, -1.0]))
    return net_D, net_G


def image_pair():
    net_D = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 8))
    net_G = nn.Sequential(nn.ConvTranspose2d(5, 4, 8), nn.BatchNorm2d(4))
    net_G.append(nn.ConvTranspose2d(4, 3, 4, 2, 1))
    return net_D, net_G


PAIRS = [
    pytest.param(linear_pair, (8, 2), (8, 2), id='points'),
    pytest.param(image_pair, (6, 3, 16, 16), (6, 5, 1, 1), id='images'),
]
bce = nn.BCEWithLogitsLoss(reduction='sum')


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=LR)


def weights(net):
    return [w.detach().clone() for w in net.parameters()]


def same(before, net):
    return all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_update_D_takes_the_gradient_step_worked_out_by_hand():
    net_D, net_G = linear_pair()
    X = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    Z = torch.tensor([[0.5, 0.5], [-1.0, 2.0]])
    a, b = net_D.weight.detach()[0].clone(), net_D.bias.detach().clone()
    fake = Z + net_G.bias.detach()
    p_real, p_fake = torch.sigmoid(X @ a + b), torch.sigmoid(fake @ a + b)

    loss = d2l.update_D(X, Z, net_D, net_G, bce, sgd(net_D))

    expected_loss = -(p_real.log().sum() + (1 - p_fake).log().sum()) / 2
    grad_a = (((p_real - 1)[:, None] * X).sum(0) + (p_fake[:, None] * fake).sum(0)) / 2
    grad_b = ((p_real - 1).sum() + p_fake.sum()) / 2
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(net_D.weight.detach()[0], a - LR * grad_a)
    torch.testing.assert_close(net_D.bias.detach()[0], (b - LR * grad_b)[0])


def test_update_G_takes_the_non_saturating_step_worked_out_by_hand():
    net_D, net_G = linear_pair()
    Z = torch.tensor([[0.5, 0.5], [-1.0, 2.0]])
    a, c = net_D.weight.detach()[0], net_G.bias.detach().clone()
    p_fake = torch.sigmoid((Z + c) @ a + net_D.bias.detach())

    loss = d2l.update_G(Z, net_D, net_G, bce, sgd(net_G))

    grad_out = (p_fake - 1)[:, None] * a
    torch.testing.assert_close(loss, -p_fake.log().sum())
    torch.testing.assert_close(net_G.bias.detach(), c - LR * grad_out.sum(0))
    torch.testing.assert_close(net_G.weight.detach(), torch.eye(2) - LR * grad_out.T @ Z)


@pytest.mark.parametrize(('pair', 'shape_X', 'shape_Z'), PAIRS)
def test_each_step_leaves_the_other_player_untouched(pair, shape_X, shape_Z):
    torch.manual_seed(0)
    net_D, net_G = pair()
    X, Z = torch.randn(shape_X), torch.randn(shape_Z)

    before_D, before_G = weights(net_D), weights(net_G)
    loss_D = d2l.update_D(X, Z, net_D, net_G, bce, sgd(net_D))
    assert same(before_G, net_G)
    assert not same(before_D, net_D)
    assert all(w.grad is None for w in net_G.parameters())

    before_D, grads_D = weights(net_D), [w.grad.clone() for w in net_D.parameters()]
    loss_G = d2l.update_G(Z, net_D, net_G, bce, sgd(net_G))
    assert same(before_D, net_D)
    assert not same(before_G, net_G)
    for grad, w in zip(grads_D, net_D.parameters(), strict=True):
        assert torch.equal(grad, w.grad), "G's step left a gradient in D"

    for loss in (loss_D, loss_G):
        assert loss.shape == ()
        assert not loss.requires_grad


@pytest.mark.parametrize(('pair', 'shape_X', 'shape_Z'), PAIRS)
def test_steps_do_not_add_up_old_gradients(pair, shape_X, shape_Z):
    torch.manual_seed(0)
    net_D, net_G = pair()
    X, Z = torch.randn(shape_X), torch.randn(shape_Z)
    for w in [*net_D.parameters(), *net_G.parameters()]:
        w.grad = torch.full_like(w, 100.0)
    fresh_D, fresh_G = copy.deepcopy(net_D), copy.deepcopy(net_G)
    for w in [*fresh_D.parameters(), *fresh_G.parameters()]:
        w.grad = None
    for D, G in ((net_D, net_G), (fresh_D, fresh_G)):
        d2l.update_D(X, Z, D, G, bce, sgd(D))
        d2l.update_G(Z, D, G, bce, sgd(G))
    assert same(weights(fresh_D), net_D)
    assert same(weights(fresh_G), net_G)


def test_loss_of_an_undecided_D_is_log_2_per_example():
    net_D, net_G = linear_pair()
    nn.init.zeros_(net_D.weight)
    nn.init.zeros_(net_D.bias)
    X = Z = torch.randn(8, 2)
    log_2 = torch.tensor(2.0).log()
    torch.testing.assert_close(d2l.update_G(Z, net_D, net_G, bce, sgd(net_G)), 8 * log_2)
    torch.testing.assert_close(d2l.update_D(X, Z, net_D, net_G, bce, sgd(net_D)), 8 * log_2)


def test_a_batch_that_does_not_fit_is_named():
    net_D, net_G = linear_pair()
    good, wide = torch.zeros(8, 2), torch.zeros(8, 3)
    with pytest.raises(ValueError, match=r'X does not fit net_D.*\(batch, 2\), got \(8, 3\)'):
        d2l.update_D(wide, good, net_D, net_G, bce, sgd(net_D))
    for call in (
        lambda: d2l.update_D(good, wide, net_D, net_G, bce, sgd(net_D)),
        lambda: d2l.update_G(wide, net_D, net_G, bce, sgd(net_G)),
    ):
        with pytest.raises(ValueError, match=r'Z does not fit net_G.*\(batch, 2\), got \(8, 3\)'):
            call()


def test_images_with_the_channels_last_are_named():
    net_D, net_G = image_pair()
    X, Z = torch.zeros(6, 16, 16, 3), torch.zeros(6, 5, 1, 1)
    with pytest.raises(ValueError, match=r'X .*\(batch, 3, height, width\), got \(6, 16, 16, 3\)'):
        d2l.update_D(X, Z, net_D, net_G, bce, sgd(net_D))


def test_a_batch_on_the_wrong_device_is_named():
    """The meta device stands in for a GPU: PyTorch refuses to mix it with the CPU as well."""
    net_D, net_G = linear_pair()
    X = Z = torch.zeros(8, 2)
    trainer_D = sgd(net_D.to('meta'))
    with pytest.raises(ValueError, match='X is on cpu but net_D is on meta'):
        d2l.update_D(X, Z, net_D, net_G, bce, trainer_D)


def test_other_errors_pass_through():
    net_D, net_G = linear_pair()

    def broken_loss(*_):
        raise RuntimeError('a fault of the loss')

    with pytest.raises(RuntimeError, match='a fault of the loss'):
        d2l.update_G(torch.zeros(8, 2), net_D, net_G, broken_loss, sgd(net_G))


@pytest.mark.parametrize(
    ('layer', 'shape'),
    [
        (nn.Conv2d(64, 64, 3, padding=1, bias=False), (2, 64, 16, 16)),
        (nn.ConvTranspose2d(64, 64, 4, 2, 1, bias=False), (2, 64, 16, 16)),
        (nn.ConvTranspose2d(200, 64, 4, 1, 0, bias=False), (8, 200, 1, 1)),
    ],
)
def test_he_init_keeps_the_size_of_signals(layer, shape):
    """A ReLU halves the mean square, so the layer after it must double it."""
    torch.manual_seed(0)
    d2l.he_init(layer)
    out = layer(torch.randn(shape)).detach()[..., 2:-2, 2:-2]
    if shape[-1] == 1:
        out = layer(torch.randn(shape)).detach()
    assert out.square().mean().item() == pytest.approx(2, rel=0.1)


def test_he_init_restarts_batch_norm():
    norm = nn.BatchNorm2d(8)
    nn.init.normal_(norm.weight, 0, 0.02)
    d2l.he_init(nn.Sequential(norm))
    assert torch.equal(norm.weight, torch.ones(8))
    assert torch.equal(norm.bias, torch.zeros(8))


def test_a_misfit_given_by_keyword_is_named_too():
    net_D, net_G = linear_pair()
    good, wide = torch.zeros(8, 2), torch.zeros(8, 3)
    rest = {'net_D': net_D, 'net_G': net_G, 'loss': bce}
    for X, Z, problem in (
        (wide, good, 'X does not fit net_D'),
        (good, wide, 'Z does not fit net_G'),
    ):
        with pytest.raises(ValueError, match=problem):
            d2l.update_D(trainer_D=sgd(net_D), Z=Z, X=X, **rest)
        with pytest.raises(ValueError, match=problem):
            d2l.update_D(X, Z, net_D, trainer_D=sgd(net_D), net_G=net_G, loss=bce)
    with pytest.raises(ValueError, match='Z does not fit net_G'):
        d2l.update_G(trainer_G=sgd(net_G), Z=wide, **rest)
    with pytest.raises(TypeError, match='trainer_G'):
        d2l.update_G(good, **rest)


def test_a_step_by_keyword_is_the_step_by_place():
    X, Z = torch.randn(8, 2), torch.randn(8, 2)
    (D, G), (other_D, other_G) = linear_pair(), linear_pair()
    given = {'loss': bce, 'net_G': other_G, 'net_D': other_D, 'Z': Z}
    expected = d2l.update_D(X, Z, D, G, bce, sgd(D)), d2l.update_G(Z, D, G, bce, sgd(G))
    found = (
        d2l.update_D(trainer_D=sgd(other_D), X=X, **given),
        d2l.update_G(trainer_G=sgd(other_G), **given),
    )
    assert torch.equal(torch.stack(found), torch.stack(expected))
    assert same(weights(D), other_D) and same(weights(G), other_G)


def test_explained_steps_may_name_their_arguments_as_they_like():
    @d2l.explain_misfit
    def step(real, noise, judge, painter):
        """Judge both."""
        return judge(real) + judge(painter(noise))

    net_D, net_G = linear_pair()
    assert (step.__name__, step.__doc__) == ('step', 'Judge both.')
    with pytest.raises(ValueError, match='Z does not fit net_G'):
        step(noise=torch.zeros(8, 3), real=torch.zeros(8, 2), painter=net_G, judge=net_D)


def test_first_layer_is_the_first_of_the_kinds_asked_for():
    linear, conv = nn.Linear(2, 3), nn.Conv2d(3, 4, 1)
    net = nn.Sequential(nn.Sequential(nn.Tanh(), conv), linear, nn.Linear(3, 1))
    assert first_layer(net, nn.Linear) is linear
    assert first_layer(net, nn.Linear, nn.Conv2d) is conv
    assert first_layer(net, nn.BatchNorm2d) is None
    assert first_layer(linear, nn.Linear) is linear


def test_at_rest_holds_every_module_and_gives_each_its_own_mode_back():
    frozen = nn.BatchNorm1d(2).eval()
    nets = nn.Sequential(nn.Dropout(), frozen), nn.BatchNorm1d(2)
    modes = [m.training for net in nets for m in net.modules()]
    averages = [v.clone() for net in nets for v in net.state_dict().values()]
    X = torch.randn(8, 2)
    with pytest.raises(KeyError), at_rest(*nets):
        assert not any(m.training for net in nets for m in net.modules())
        torch.testing.assert_close(nets[0](X), X, rtol=1e-4, atol=1e-4)  # no dropout, averages 0, 1
        nets[1](X)
        raise KeyError
    assert [m.training for net in nets for m in net.modules()] == modes
    after = [v for net in nets for v in net.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(averages, after, strict=True))


@pytest.mark.parametrize('sigma', [0.2, 0.5, 2.0])
def test_blur_agrees_with_a_weighted_mean_in_loops(sigma):
    """Weights exp(-distance^2 / 2 sigma^2) along each axis; those inside add up to 1."""
    X = np.random.default_rng(0).random((2, 3, 5, 7))

    def along_last(A):
        out = np.empty_like(A)
        for i in range(A.shape[-1]):
            bell = np.exp(-((np.arange(A.shape[-1]) - i) ** 2) / (2 * sigma**2))
            out[..., i] = (A * bell).sum(-1) / bell.sum()
        return out

    expected = along_last(along_last(X).swapaxes(2, 3)).swapaxes(2, 3)
    found = d2l.blur(torch.as_tensor(X, dtype=torch.float32), sigma)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    narrow = torch.as_tensor(X)
    assert d2l.blur(narrow, 0.19) is narrow


def test_blur_agrees_with_scipy_away_from_the_edge():
    X = torch.rand(1, 1, 32, 32)
    expected = scipy.ndimage.gaussian_filter(X[0, 0].numpy(), 1.5, truncate=6)
    torch.testing.assert_close(
        d2l.blur(X, 1.5)[0, 0, 9:-9, 9:-9], torch.as_tensor(expected)[9:-9, 9:-9]
    )


@pytest.mark.parametrize(
    ('layer', 'fan_in'),
    [
        (nn.Conv2d(8, 64, 3), 8 * 9),
        (nn.ConvTranspose2d(8, 64, 4, 2, 1), 8 * 4),
        (nn.ConvTranspose2d(96, 64, 4), 96),
    ],
)
def test_he_init_draws_with_variance_2_over_fan_in(layer, fan_in):
    torch.manual_seed(0)
    d2l.he_init(nn.Sequential(layer))
    assert (layer.weight.var() * fan_in).item() == pytest.approx(2, rel=0.1)
    assert abs(layer.weight.mean().item()) < 0.01
