"""The checks of chapter 2's exercises: what is right passes, what is wrong hears why."""

import functools

import nbformat
import pytest
import torch
from exercises import SOLUTIONS, stub
from torch import nn

from d2l_gan.classroom.checks import verdict

NOTEBOOK = nbformat.read(SOLUTIONS / '02_dcgan_exercises.ipynb', as_version=4)
CELLS = {cell.id: cell.source for cell in NOTEBOOK.cells}
ANSWERS = {cell_id.removesuffix('-answer') for cell_id in CELLS if cell_id.endswith('-answer')}


@functools.cache
def names():
    """What the notebook's imports, given networks and answers define."""
    found = {}
    wanted = ['imports', 'nets-given', *(f'{name}-answer' for name in ANSWERS)]
    for cell_id in wanted:
        exec(CELLS[cell_id], found)
    return found


def judged(name, found):
    """The verdict on what the check cell hands over, among these names."""
    answer = CELLS[f'{name}-check'].removeprefix(f"d2l.check('{name}', ").removesuffix(')')
    return verdict(name, eval(answer, found))


def solution(name):
    return names()[name]


SLOW = pytest.param('diagnosis', marks=pytest.mark.slow)


@pytest.mark.parametrize('name', [*sorted(ANSWERS - {'diagnosis'}), SLOW])
def test_the_solution_passes(name):
    said = judged(name, names())
    assert said.right, said.reason


@pytest.mark.parametrize('name', sorted(ANSWERS))
def test_an_empty_answer_gets_a_friendly_sentence(name):
    found = dict(names())
    exec(stub(CELLS[f'{name}-answer']), found)
    said = judged(name, found)
    assert not said.right
    assert '`...`' in said.reason


# Answers that are not right


class Conditional(nn.Module):
    """The solution, with one thing changed in each heir."""

    inputs, side, last = 4, 32, nn.Tanh

    def __init__(self, latent_dim=100, n_G=12, num_kinds=4, channels=3):
        super().__init__()
        self.num_kinds = num_kinds
        depth = {32: 3, 64: 4}[self.side]
        inputs = latent_dim + (1 if self.inputs == 1 else num_kinds)
        self.net = solution('make_G')(inputs, n_G, channels, depth=depth)
        self.net[-1] = self.last()

    def told(self, kinds):
        return nn.functional.one_hot(kinds, self.num_kinds).float()

    def forward(self, Z, kinds):
        return self.net(torch.cat([Z, self.told(kinds)[:, :, None, None]], dim=1))


class Deaf(Conditional):
    def told(self, kinds):
        return 0 * super().told(kinds)


class OneForAll(Conditional):
    def told(self, kinds):
        return super().told(kinds[5:6].expand(len(kinds)))


class AsNumber(Conditional):
    inputs = 1

    def told(self, kinds):
        return kinds[:, None].float()


class Wraps(Conditional):
    def told(self, kinds):
        return torch.eye(self.num_kinds)[kinds]


class Blind(Conditional):
    def forward(self, Z, kinds):
        return super().forward(0 * Z, kinds)


class Chancy(Conditional):
    def forward(self, Z, kinds):
        return super().forward(Z + torch.randn_like(Z), kinds)


class TooLarge(Conditional):
    side = 64


class NoTanh(Conditional):
    last = nn.Identity

    def forward(self, Z, kinds):
        return 9 * super().forward(Z, kinds)


class Embedded(Conditional):
    def __init__(self, latent_dim=100, n_G=12, num_kinds=4, channels=3):
        super().__init__(latent_dim, n_G, num_kinds, channels)
        self.told = nn.Embedding(num_kinds, num_kinds)


def slope(loss, power=1):
    def reaches(net_D, fake_X):
        X = fake_X.detach().requires_grad_()
        (grad,) = torch.autograd.grad(loss(net_D(X)), X)
        return grad.flatten(1).norm(dim=1) ** power

    return reaches


softplus = nn.functional.softplus
DOWN, UP = (12, 6, 3, 3), (7, 14, 29, 29)
COST = lambda n: 672 * n**2 + 12878 * n  # noqa: E731
ADDS = lambda n: 24576 * n**2 + 61952 * n  # noqa: E731
GOOD = {'G saturates': {'loss': 'saturating', 'lr_D': 0.05, 'lr_G': 0.0002}}
GOOD |= {'oscillating': {'lr_D': 0.3, 'lr_G': 0.1}, 'D has won': {'lr_D': 0.05, 'lr_G': 0.0002}}


def prepare(pixels):
    return solution('prepare')(pixels)


def shares(asked, named, num):
    return solution('shares')(asked, named, num)


def counts(asked, named, num):
    return torch.bincount(asked[asked == named], minlength=num)


def smooth(pixels):
    images = pixels[:, None].float() / 127.5 - 1
    return nn.functional.interpolate(images, 32, mode='bilinear')


def all_worse(whole, without, middle=lambda runs: sorted(runs)[1], least=min, bar=max):
    worse = [name for name, runs in without.items() if least(runs) > bar(whole)]
    return sorted(worse, key=lambda name: -middle(without[name]))


def mean(runs):
    return sum(runs) / len(runs)


WRONG = (
    ('shapes', ((13, 7, 4, 4), UP), 'round down'),
    ('shapes', ((12, 5, 2, 0), UP), 'The padding is missing: the input is longer'),
    ('shapes', ((11, 5, 1, 0), UP), 'so add 1'),
    ('shapes', (DOWN, (8, 18, 39, 40)), 'n - 1 gaps'),
    ('shapes', (DOWN, (7, 18, 37, 45)), 'cut off from the output'),
    ('shapes', (DOWN, (7, 16, 33, 37)), 'cut off at each end'),
    ('shapes', (DOWN, (7, 14, 28, 28)), 'layer 3 (kernel 3, stride 2, padding 0)'),
    ('shapes', (DOWN, (7, 14)), '4 values were expected, but up is a tuple of 2'),
    ('shapes', (('12', 6, 3, 3), UP), "a side on the way down is '12'"),
    ('cost', (lambda n: COST(n) - 30 * n, ADDS), 'a scale and a shift for each channel'),
    ('cost', (lambda n: COST(n) + 15 * n + 3, ADDS), 'no bias'),
    ('cost', (lambda n: COST(n) + 30 * n, ADDS), 'not learnt'),
    ('cost', (lambda n: 42 * n**2 + 833 * n, ADDS), 'a kernel of 4 x 4'),
    ('cost', (COST, lambda n: 2 * ADDS(n)), 'Twice too many'),
    ('cost', (COST, lambda n: 98304 * n**2 + 401408 * n), 'at each pixel of the input'),
    ('cost', (COST, lambda n: COST(n) - 30 * n), 'used at every pixel'),
    ('cost', (COST, lambda n: ADDS(n) - 1), 'multiply_adds(1) is 86527, which is too few'),
    ('cost', (COST, lambda n: 'many'), "multiply_adds(1) is 'many'"),
    ('bn-scale', lambda m, s, b: ((m**2 + s**2) / 2) ** (b / 2), 'multiply from block to block'),
    ('bn-scale', lambda m, s, b: (m**2 + s**2) / 2, 'mean *square*'),
    ('bn-scale', lambda m, s, b: (m**2 + s**2) ** 0.5, 'ReLU is missing'),
    ('bn-scale', lambda m, s, b: m / 2**0.5, 'a scale with mean 0 is not 0'),
    ('bn-scale', lambda m, s, b: max(m, s) / 2**0.5, 'only the mean counts'),
    ('bn-scale', lambda m, s, b: [m], 'A number was expected'),
    ('relu', slope(lambda Y: softplus(-Y).mean()), 'the mean over the batch divides by n'),
    ('relu', slope(lambda Y: Y.sum()), "the logit's slope"),
    ('relu', slope(lambda Y: softplus(Y).sum()), "the slope of D's loss"),
    ('relu', slope(lambda Y: softplus(-Y).sum(), 2), 'These are squares'),
    ('relu', lambda net_D, X: X, 'The shape (5,) was expected'),
    ('remedies', functools.partial(all_worse, least=mean, bar=mean), 'their dots mix'),
    ('remedies', lambda whole, without: sorted(without), 'the larger median'),
    ('remedies', lambda whole, without: max(without, key=lambda n: mean(without[n])),
     'A list of names was expected'),
    ('remedies', lambda whole, without: all_worse(whole, without) or ['A'], 'even gets better'),
    ('remedies', functools.partial(all_worse, middle=mean), 'Compare medians'),
    ('conditional', Deaf, 'the kind does not reach the layers'),
    ('conditional', OneForAll, 'each image needs its own kind'),
    ('conditional', AsNumber, 'Kind 4 of 4 is none'),
    ('conditional', Wraps, 'Kind -1 of 4 is none'),
    ('conditional', Blind, 'one picture for each kind'),
    ('conditional', Chancy, 'chance in forward'),
    ('conditional', TooLarge, '(8, 3, 64, 64)'),
    ('conditional', NoTanh, 'Does it end with tanh?'),
    ('conditional', lambda **_: 3, 'A function was expected, and this is 3'),
    ('fashion', (lambda p: prepare(p) * 127.5 + 127.5, shares), 'still bytes'),
    ('fashion', (lambda p: prepare(p) / 2 + 0.5, shares), 'Black is -1'),
    ('fashion', (lambda p: -prepare(p), shares), 'changed places'),
    ('fashion', (lambda p: prepare(p).mT, shares), 'rows and columns'),
    ('fashion', (lambda p: prepare(p).flip(2), shares), 'on its head'),
    ('fashion', (lambda p: nn.functional.pad(p[:, None] / 127.5 - 1, (2, 2, 2, 2)), shares),
     'grey rim'),
    ('fashion', (lambda p: prepare(p)[:, 0], shares), '(3, 1, 32, 32)'),
    ('fashion', (prepare, counts), 'These are counts'),
    ('fashion', (prepare, lambda *a: counts(*a) / len(a[0])), 'You divide by all images'),
    ('fashion', (prepare, lambda a, n, num: shares(n, a, num)), 'was *named*'),
    ('fashion', (prepare, lambda *a: 100 * shares(*a)), 'percentages'),
    ('diagnosis', {'D has won': {}}, 'A dict with the keys'),
    ('diagnosis', {**GOOD, 'D has won': ...}, '`...` of \'D has won\''),
    ('diagnosis', {**GOOD, 'G saturates': {'lr': 1}}, 'a dict of some of loss'),
    ('diagnosis', {**GOOD, 'G saturates': {'lr_D': 3}}, 'lr_D must lie between'),
    ('diagnosis', {**GOOD, 'G saturates': {'lr_D': 0.05, 'lr_G': 0.0002}}, 'ended as D has won'),
)  # fmt: skip


@pytest.mark.parametrize(
    ('name', 'answer', 'piece'), WRONG, ids=[f'{n}-{i}' for i, (n, *_) in enumerate(WRONG)]
)
def test_a_wrong_answer_hears_its_own_reason(name, answer, piece):
    said = verdict(name, answer)
    assert not said.right
    assert piece in said.reason


OTHER = (
    ('shapes', [list(DOWN), [torch.tensor(side) for side in UP]]),
    ('cost', (lambda n: sum(w.numel() for w in solution('make_G')(100, n, depth=4).parameters()),
              lambda n: float(ADDS(n)))),
    ('bn-scale', lambda m, s, b: (torch.randn(99999, generator=torch.Generator().manual_seed(0))
                                  * s + m).square().div(2).mean().sqrt()),
    ('relu', slope(lambda Y: -Y.sigmoid().log().sum())),
    ('remedies', lambda *a: tuple(all_worse(*a))),
    ('conditional', Embedded),
    ('fashion', (smooth, lambda a, n, num: counts(a, n, num) / torch.bincount(a))),
    ('diagnosis', {'D has won': {'lr_D': 0.03, 'lr_G': 0.0001, 'batch_size': 16},
                   'oscillating': {'lr_D': 0.25, 'lr_G': 0.12},
                   'G saturates': {'loss': 'saturating', 'lr_D': 0.06, 'lr_G': 0.0001}}),
)  # fmt: skip


@pytest.mark.parametrize(
    ('name', 'answer'),
    [pytest.param(*o, id=o[0], marks=[pytest.mark.slow] * (o[0] == 'diagnosis')) for o in OTHER],
)
def test_another_right_answer_passes(name, answer):
    said = verdict(name, answer)
    assert said.right, said.reason


def test_each_exercise_refuses_at_least_three_and_knows_another_right_one():
    assert {name for name, _ in OTHER} == ANSWERS
    for exercise in ANSWERS:
        assert sum(name == exercise for name, *_ in WRONG) >= 3
