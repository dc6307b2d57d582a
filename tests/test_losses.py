"""Every loss against its formula written out, and its gradient against the one worked out by hand.

Logits are r for real and f for fake, s is the sigmoid, n the number of points.
"""

import pytest
import torch

import d2l_gan as d2l

REAL = torch.tensor([[2.0], [-1.0], [0.5], [0.0]], dtype=torch.float64)
FAKE = torch.tensor([[-3.0], [1.0], [0.25], [4.0]], dtype=torch.float64)


def s(x):
    return 1 / (1 + (-x).exp())


FORMULAS = {  # D's loss and G's, then their gradients in r and f, times n
    'non-saturating': (
        lambda r, f: (-s(r).log() - (1 - s(f)).log()).mean() / 2,
        lambda r, f: -s(f).log().mean(),
        lambda r, f: ((s(r) - 1) / 2, s(f) / 2),
        lambda r, f: (0 * r, s(f) - 1),
    ),
    'saturating': (
        lambda r, f: (-s(r).log() - (1 - s(f)).log()).mean() / 2,
        lambda r, f: (1 - s(f)).log().mean(),
        lambda r, f: ((s(r) - 1) / 2, s(f) / 2),
        lambda r, f: (0 * r, -s(f)),
    ),
    'relativistic + R1': (
        lambda r, f: -s(r - f).log().mean(),
        lambda r, f: -s(f - r).log().mean(),
        lambda r, f: (s(r - f) - 1, 1 - s(r - f)),
        lambda r, f: (1 - s(f - r), s(f - r) - 1),
    ),
}


def test_every_loss_has_its_formula_here_and_words_for_the_page():
    assert d2l.LOSSES.keys() == FORMULAS.keys()
    for loss in d2l.LOSSES.values():
        assert loss.words and '\n' not in loss.words
        assert loss.gamma >= 0
    assert d2l.LOSSES['relativistic + R1'].gamma == 0.1
    assert d2l.LOSSES['relativistic + R1'].compares


@pytest.mark.parametrize('name', d2l.LOSSES)
def test_losses_are_their_formulas_gradients_included(name):
    r, f = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    loss, (D, G, slope_D, slope_G) = d2l.LOSSES[name], FORMULAS[name]
    for ours, formula, slope in ((loss.D, D, slope_D), (loss.G, G, slope_G)):
        value = ours(r, f)
        assert value.shape == ()
        torch.testing.assert_close(value, formula(r, f))
        grads = torch.autograd.grad(value, (r, f), materialize_grads=True)
        for grad, by_hand in zip(grads, slope(REAL, FAKE), strict=True):
            torch.testing.assert_close(grad, by_hand / len(REAL))


@pytest.mark.parametrize('name', d2l.LOSSES)
def test_opinions_are_probabilities_of_the_first_logits(name):
    loss = d2l.LOSSES[name]
    for Y, others in ((REAL, FAKE), (FAKE, REAL)):
        expected = s(Y - others) if loss.compares else s(Y)
        torch.testing.assert_close(loss.opinion(Y, others), expected)
    assert not d2l.Loss('', D=None, G=None).compares, 'unless it says so'


def test_losses_stay_finite_where_a_formula_would_not():
    Y = torch.tensor([200.0, -200.0], requires_grad=True)
    for loss in d2l.LOSSES.values():
        for value in (loss.D(Y, Y.flip(0)), loss.G(Y, Y.flip(0))):
            assert value.isfinite()
            grads = torch.autograd.grad(value, Y)
            assert grads[0].isfinite().all()


def test_the_parts_agree_with_pytorchs_cross_entropy():
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(REAL), torch.zeros_like(REAL)
    expected = (bce(REAL, ones) + bce(FAKE, zeros)) / 2
    torch.testing.assert_close(d2l.cross_entropy(REAL, FAKE), expected)
    torch.testing.assert_close(d2l.non_saturating(FAKE), bce(FAKE, ones))
    torch.testing.assert_close(d2l.saturating(FAKE), -bce(FAKE, zeros))


def test_r1_penalty_by_hand_and_for_training():
    """For o = x^T M x the gradient is 2 M x (M symmetric), the penalty the mean of |2 M x|^2."""
    M = torch.tensor([[1.0, 0.5], [0.5, -2.0]], requires_grad=True)
    X = torch.randn(8, 2, requires_grad=True)
    penalty = d2l.r1_penalty((X @ M * X).sum(1), X)
    torch.testing.assert_close(penalty, (2 * X @ M).square().sum(1).mean())
    penalty.backward()
    assert M.grad.abs().sum() > 0


def test_pair_loss_by_hand():
    winner, loser = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 3.0])
    expected = (
        -(torch.sigmoid(torch.tensor(1.0)).log() + torch.sigmoid(torch.tensor(-3.0)).log()) / 2
    )
    torch.testing.assert_close(d2l.pair_loss(winner, loser), expected)
