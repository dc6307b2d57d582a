"""The checks of chapter 1's exercises: what is right, and for what reason something is wrong."""

import pytest
import torch
from cells import sources
from torch import nn

from d2l_gan.classroom.checks import EXERCISES, verdict

STEM = 'solutions/01_basic_gan_exercises'
SOURCES = sources(STEM)
NAMES = [cell_id.removesuffix('-check') for cell_id in SOURCES if cell_id.endswith('-check')]
softplus, relu = nn.functional.softplus, nn.functional.relu


def answer_of(name):
    """The solution's answer, as its check cell gives it."""
    namespace = {'torch': torch, 'nn': nn}
    exec(SOURCES[f'{name}-answer'], namespace)
    expression = SOURCES[f'{name}-check'].split(', ', 1)[1].removesuffix(')')
    return eval(expression, namespace)


best_D = answer_of('best-D')
losses, slopes = answer_of('two-losses')
by_heart = answer_of('by-heart')
sgd, adam = answer_of('first-step')
line = answer_of('line')
nodes = answer_of('no-grad')
hinge_D, hinge_G = answer_of('hinge')


def unstable(o):
    D = torch.sigmoid(o)
    return (1 - D).log(), -D.log()


def in_D(o):
    D = torch.sigmoid(o)
    return -1 / (1 - D), -1 / D


@pytest.mark.parametrize('name', NAMES)
def test_the_solution_is_right(name):
    said = verdict(name, answer_of(name))
    assert said.right, said.reason


def log_ratio(x, a, s, b, t):
    N = torch.distributions.Normal
    return N(a, s).log_prob(x) - N(b, t).log_prob(x)


@pytest.mark.parametrize(('name', 'answer'), (
    ('best-D', lambda *g: log_ratio(*g).exp() / (1 + log_ratio(*g).exp())),
    ('two-losses', (lambda o: (nn.functional.logsigmoid(-o), -nn.functional.logsigmoid(o)),
                    lambda o: (-1 / (1 + (-o).exp()), -1 / (1 + o.exp())))),
    ('by-heart', lambda Z, s: s[(torch.special.ndtr(-Z[:, 1]) * len(s)).long()]),
    ('first-step', (sgd, lambda g, lr: -lr * g / (abs(g) + 1e-8))),
    ('swap', ['swapped', 'KL']),
    ('line', lambda W: (torch.outer(W[:, 0], W[:, 0]), 1 if W.any() else 0)),
    ('ring', {'lr_D': 0.003, 'd_steps': 3}),
    ('hinge', (lambda r, f: hinge_D(r, f) / 2, hinge_G)),
))  # fmt: skip
def test_another_right_answer_is_right(name, answer):
    said = verdict(name, answer)
    assert said.right, said.reason


@pytest.mark.parametrize(('name', 'answer', 'reason'), (
    ('best-D', lambda *g: 1 - best_D(*g), 'the chance of *fake*'),
    ('best-D', lambda *g: log_ratio(*g).exp(), 'This is p / q'),
    ('best-D', log_ratio, "D's logit"),
    ('best-D', lambda x, *g: torch.full_like(x, 0.5), 'Which d costs least'),
    ('two-losses', (lambda o: tuple(-y for y in losses(o)), slopes), 'sign?'),
    ('two-losses', (lambda o: losses(o)[::-1], slopes), 'have changed places'),
    ('two-losses', (unstable, slopes), 'log 0 is infinite'),
    ('two-losses', (losses, lambda o: tuple(-y for y in slopes(o))), 'the wrong sign'),
    ('two-losses', (losses, in_D), 'In the logit, D (1 - D) comes on top'),
    ('two-losses', (losses, lambda o: slopes(o)[::-1]), 'slopes have changed places'),
    ('by-heart', lambda Z, s: Z, 'no points of the sample'),
    ('by-heart', lambda Z, s: s[torch.randint(len(s), (len(Z),))], 'The same noise gave other'),
    ('by-heart', lambda Z, s: s[torch.arange(len(Z)) % len(s)], 'its own z'),
    ('by-heart', lambda Z, s: s[(torch.sigmoid(Z[:, 0]) * len(s)).long()], 'equally often'),
    ('by-heart', lambda Z, s: s[(torch.special.ndtr(Z[:, 0]) * 20).long()], 'another 0 times'),
    ('first-step', (lambda g, lr: lr * g, adam), 'goes *down*'),
    ('first-step', (sgd, sgd), 'This is gradient descent'),
    ('first-step', (sgd, lambda g, lr: -adam(g, lr)), 'against the gradient'),
    ('first-step', (sgd, lambda g, lr: -lr * 0.1 * g / ((0.001 * g * g) ** 0.5 + 1e-8)),
     'start at 0'),
    ('first-step', (sgd, lambda g, lr: -lr * g / abs(g)), 'eps is no longer small'),
    ('swap', ('book', 'KL'), 'seed by seed'),
    ('swap', ('swapped', 'loss_D'), "D's loss ends near 0.69"),
    ('swap', ('swapped', 'loss_G'), "G's loss ends near 0.7"),
    ('swap', ('D', 'KL'), "One of 'book', 'swapped'"),
    ('line', lambda W: (W.T @ W, 1), 'a single number'),
    ('line', lambda W: (W @ W.T, 2), 'determinant is 0'),
    ('line', lambda W: ((W @ W.T).diag().diag(), 1), 'not independent'),
    ('line', lambda W: (W @ W.T, 1), 'the rank is not 1'),
    ('no-grad', lambda net, Z, off: 0, 'grad_fn'),
    ('no-grad', lambda net, Z, off: nodes(net, Z, False), 'nothing is recorded'),
    ('no-grad', lambda net, Z, off: sum(w.numel() for w in net.parameters()), 'the weights'),
    ('no-grad', lambda net, Z, off: nodes(net, Z, off) + 1, 'counted twice'),
    ('ring', {'loss': 'relativistic + R1'}, 'finds out too late'),
    ('ring', {'lr_G': 0.0001}, 'A slower G'),
    ('ring', {'colour': 1}, 'is no knob'),
    ('ring', {'lr_D': 7}, 'The lab says: lr_D must lie between'),
    ('ring', {}, 'changes nothing'),
    ('ring', 0.003, 'was expected; this is 0.003'),
    ('hinge', (lambda r, f: relu(1 + r).mean() + relu(1 - f).mean(), hinge_G), 'where D is right'),
    ('hinge', (lambda r, f: relu(-r).mean() + relu(f).mean(), hinge_G), 'margin is missing'),
    ('hinge', (lambda r, f: (1 - r).mean() + (1 + f).mean(), hinge_G), 'relu is missing'),
    ('hinge', (lambda r, f: 4 * hinge_D(r, f), hinge_G), 'takes means'),
    ('hinge', (hinge_D, lambda r, f: f.mean()), 'sign?'),
    ('hinge', (hinge_D, lambda r, f: relu(1 - f).mean()), 'no margin'),
))  # fmt: skip
def test_a_wrong_answer_is_refused_for_its_own_reason(name, answer, reason):
    said = verdict(name, answer)
    assert not said.right
    assert reason in said.reason


@pytest.mark.parametrize('name', NAMES)
def test_an_empty_answer_and_one_of_a_wrong_type_get_a_sentence(name):
    def hollow(*args):
        return None

    for answer in (..., (..., ...), 'text', torch.ones(3), (hollow, hollow), hollow, {'a': ...}):
        said = verdict(name, answer)
        assert not said.right
        assert len(said.reason) > 20
    assert EXERCISES[name].points in (1, 2, 3)
