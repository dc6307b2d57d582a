"""The checks of chapter 1's exercises."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from d2l_gan.classroom.checks import (
    Wrong,
    as_number,
    as_tensor,
    as_tuple,
    ask,
    close,
    described,
    exercise,
    one_of,
)
from d2l_gan.game import Game


def _bell(x: Tensor, mean: float, std: float) -> Tensor:
    return torch.distributions.Normal(mean, std).log_prob(x).exp()


@exercise('best-D', points=2)
def best_D(answer: Any) -> str:
    """A function of points x (n,), and of mean and std of p and of q, to D*(x)."""
    x = torch.linspace(-3, 4, 15, dtype=torch.float64)
    for given in ((0.0, 1.0, 1.0, 1.0), (0.0, 1.0, 1.0, 2.0), (-1.0, 0.5, 0.5, 1.5)):
        mean_p, std_p, mean_q, std_q = given
        p, q = _bell(x, mean_p, std_p), _bell(x, mean_q, std_q)
        d = as_tensor(ask(answer, x, *given), (15,))
        if close(d, p / (p + q), 1e-5):
            continue
        if close(d, q / (p + q), 1e-5):
            raise Wrong('This is the chance of *fake*: p and q have changed places.')
        if close(d, p / q, 1e-5):
            raise Wrong('This is p / q. It grows beyond 1; a probability cannot.')
        if close(d, (p / q).log(), 1e-5):
            raise Wrong("This is D's logit, log p - log q. Its sigmoid was asked for.")
        if d.min() < 0 or d.max() > 1:
            raise Wrong(
                f'A probability lies in [0, 1]; yours goes from {d.min():.2f} to {d.max():.2f}.'
            )
        if std_p != std_q:
            raise Wrong(
                'Right for equal widths, wrong for different ones: '
                'a bell of width s has 1 / s before its exp.'
            )
        at = (d - p / (p + q)).abs().argmax()
        raise Wrong(
            f'At x = {x[at]:.1f} with p = {p[at]:.3f} and q = {q[at]:.3f} you say {d[at]:.3f}. '
            'Which d costs least there?'
        )
    return 'On three pairs of bells your D says p / (p + q).'


@exercise('two-losses', points=2)
def two_losses(answer: Any) -> str:
    """Two functions of logits (n,): G's minimax and non-saturating loss; their two slopes."""
    losses, slopes = as_tuple(answer, 2)
    logit = torch.tensor([-80.0, -4, -1, 0, 1, 4, 80])
    o, n = logit.double(), len(logit)
    minimax, usual = -nn.functional.softplus(o), nn.functional.softplus(-o)
    names = 'the minimax loss', 'the non-saturating loss'
    said = as_tuple(ask(losses, logit), 2, 'what losses returns')
    for name, value, right in zip(names, said, (minimax, usual), strict=True):
        if isinstance(value, Tensor) and not value.isfinite().all():
            raise Wrong(
                f'{name} is infinite or NaN at a logit of 80 or -80: there D rounds to 0 or 1, and '
                'log 0 is infinite. softplus(o) = log(1 + exp(o)) does not round.'
            )
        y = as_tensor(value, (n,), name)
        if close(y, right, 1e-4):
            continue
        if close(y, -right, 1e-4):
            raise Wrong(f'{name} grows when D is fooled: sign?')
        if close(y, usual if right is minimax else minimax, 1e-4):
            raise Wrong('The two losses have changed places: log(1 - D) first, then -log D.')
        if close(y, torch.sigmoid(o), 1e-4):
            raise Wrong(f'{name} is D itself here. Its logarithm is missing.')
        raise Wrong(f'{name} at the logit 1 should be {right[4]:.3f}; you say {y[4]:.3f}.')
    logit, o, n = logit[1:6], o[1:6], 5
    said = as_tuple(ask(slopes, logit), 2, 'what slopes returns')
    D = torch.sigmoid(o)
    for name, value, right, in_D in zip(
        names, said, (-D, D - 1), (-1 / (1 - D), -1 / D), strict=True
    ):
        y = as_tensor(value, (n,), f'the slope of {name}')
        if close(y, right, 1e-4):
            continue
        if close(y, -right, 1e-4):
            raise Wrong(
                f'The slope of {name} has the wrong sign: a fooled D makes the loss smaller.'
            )
        if close(y, in_D, 1e-3):
            raise Wrong(f'This is the slope of {name} in D. In the logit, D (1 - D) comes on top.')
        if close(y, -1 - right, 1e-4):
            raise Wrong('The two slopes have changed places.')
        raise Wrong(f'The slope of {name} at the logit 1 is {right[3]:.3f}; you say {y[3]:.3f}.')
    return 'Where D is sure of fake, at the logit -4, one slope is -0.02, the other -0.98.'


@exercise('by-heart', points=2)
def by_heart(answer: Any) -> str:
    """A function of noise Z (n, 2) and a sample (m, 2) to n points of the sample."""
    random = torch.Generator().manual_seed(0)
    sample, n = torch.randn(40, 2, generator=random), 4000
    Z = torch.randn(n, 2, generator=random)
    first = as_tensor(ask(answer, Z.clone(), sample.clone()), (n, 2), 'what G returns')
    distance, index = torch.cdist(first, sample.double()).min(1)
    if distance.max() > 1e-4:
        raise Wrong(
            f'{int((distance > 1e-4).sum())} of {n} fakes are no points of the sample. A G that '
            'knows it by heart draws nothing else.'
        )
    if not close(as_tensor(ask(answer, Z.clone(), sample.clone()), (n, 2)), first):
        raise Wrong('The same noise gave other fakes. All chance must come from z.')
    order = torch.randperm(n, generator=random)
    if not close(as_tensor(ask(answer, Z[order], sample.clone()), (n, 2)), first[order]):
        raise Wrong('A fake must depend on its own z, and not on its place in the batch.')
    counts = torch.bincount(index, minlength=len(sample))
    if counts.max() > 160 or counts.min() < 50:  # 100 expected, with a deviation of 10
        raise Wrong(
            f'One point comes {counts.max()} times, another {counts.min()} times. All must come '
            'equally often. Which function makes a standard normal number uniform?'
        )
    return 'All 40 points come, equally often, decided by z alone.'


@exercise('first-step', points=2)
def first_step(answer: Any) -> str:
    """Two functions of a gradient g and a rate lr: the first step of gradient descent, of Adam."""
    sgd, adam = as_tuple(answer, 2)
    lr = 0.01
    for g in (1.0, -0.5, 1e-4, -1e-9):
        said = as_number(ask(sgd, g, lr), 'the step of gradient descent')
        if said == lr * g:
            raise Wrong('Gradient descent goes *down*: its step is against the gradient.')
        if not math.isclose(said, -lr * g, rel_tol=1e-4):
            raise Wrong(f'For g = {g:g} and lr = {lr} the step is {-lr * g:g}; you say {said:g}.')
        said = as_number(ask(adam, g, lr), "Adam's step")
        right = -lr * g / (abs(g) + 1e-8)
        if math.isclose(said, right, rel_tol=1e-3):
            continue
        if math.isclose(said, -right, rel_tol=1e-3):
            raise Wrong("Adam's step, too, is against the gradient.")
        if math.isclose(said, -lr * g, rel_tol=1e-3):
            raise Wrong('This is gradient descent. Adam divides by the root of the mean square.')
        if math.isclose(said, right * 0.1 / 0.001**0.5, rel_tol=0.02):
            raise Wrong(
                'Both averages start at 0. Adam divides them by 1 - beta to make up for it.'
            )
        if abs(said) == lr or abs(g) < 1e-8 and math.isclose(abs(said), lr, rel_tol=0.01):
            raise Wrong(f'For g = {g:g} eps is no longer small beside |g|. Where does it stand?')
        raise Wrong(f"For g = {g:g} and lr = {lr} Adam's step is {right:.3g}; you say {said:.3g}.")
    return 'For g = 1 and for g = 0.0001 Adam takes a step of the same size, lr.'


@exercise('swap')
def swap(answer: Any) -> str:
    """Which rates end further from the target, 'book' or 'swapped'; and what tells."""
    worse, tells = as_tuple(answer, 2)
    one_of(worse, ['book', 'swapped'], 'who ends further off')
    one_of(tells, ['loss_D', 'loss_G', 'KL'], 'what tells')
    if worse == 'book':
        raise Wrong('Compare the last column of both halves of the table, seed by seed.')
    if tells == 'loss_D':
        raise Wrong("D's loss ends near 0.69 in both halves. Could you tell them apart by it?")
    if tells == 'loss_G':
        raise Wrong("G's loss ends near 0.7 in both halves. Could you tell them apart by it?")
    return 'A G that outruns its D ends far off with each seed shown, and no loss says so.'


@exercise('line')
def line(answer: Any) -> str:
    """A function of the weight W (2, 1) of a G with one-dimensional z: covariance, rank."""
    for W in (torch.tensor([[1.0], [2.0]]), torch.tensor([[-0.5], [0.3]]), torch.zeros(2, 1)):
        value, rank = as_tuple(ask(answer, W.clone()), 2, 'what it returns')
        if isinstance(value, Tensor) and value.numel() == 1:
            raise Wrong('W^T W is a single number. The covariance of two coordinates is W W^T.')
        covariance, right = as_tensor(value, (2, 2), 'the covariance'), (W @ W.T).double()
        if not close(covariance, right):
            if close(covariance, right.diag().diag()):
                raise Wrong('The two coordinates come from the same z. They are not independent.')
            if (covariance - right).abs().max() < 0.5 * max(1.0, right.abs().max().item()):
                raise Wrong(
                    'Near, but not exact. Do not draw points: W W^T says it without chance.'
                )
            raise Wrong(f'For W = {W.flatten().tolist()} the covariance is {right.tolist()}.')
        said = as_number(rank, 'the rank')
        if said == 2:
            raise Wrong('Rank 2 would be a cloud with an area. Its determinant is 0 here.')
        if said != (W != 0).any().item():
            raise Wrong(f'For W = {W.flatten().tolist()} the rank is not {said:g}.')
    return 'Rank 1: all fakes lie on one line (rank 0 for W = 0: on one point).'


def _graph_size(Y: Tensor) -> tuple[int, int]:
    """Nodes of the graph behind Y, with those of the weights, and without."""
    seen: set[Any] = set()
    stack: list[Any] = [Y.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [before for before, _ in node.next_functions]
    return len(seen), len([node for node in seen if 'AccumulateGrad' not in node.name()])


@exercise('no-grad', points=2)
def no_grad(answer: Any) -> str:
    """A function of net_G, Z and whether no_grad is on, to the nodes of the graph behind G(Z)."""
    wide = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    for net, Z in ((nn.Sequential(nn.Linear(2, 2)), torch.zeros(3, 2)), (wide, torch.zeros(5, 2))):
        said = as_number(ask(answer, net, Z, False), 'the number of nodes')
        every, inner = _graph_size(net(Z))
        if said not in (every, inner):
            if said == sum(w.numel() for w in net.parameters()):
                raise Wrong('These are the weights. The graph has a node for each *operation*.')
            if said == 0:
                raise Wrong('0 without no_grad? Start at net_G(Z).grad_fn.')
            if said > every:
                raise Wrong('Too many: some node is counted twice. Remember those you have seen.')
            raise Wrong(f'{said:g} is too few: a node has several next_functions. Follow them all.')
        said = as_number(ask(answer, net, Z, True), 'the number of nodes under no_grad')
        if said != 0:
            raise Wrong(f'Under no_grad nothing is recorded, and you count {said:g}.')
    return 'With no_grad there is no graph behind the fakes at all.'


COLLAPSING: dict[str, Any] = {'batch_size': 64, 'lr_D': 0.0001, 'lr_G': 0.002}
KNOBS = 'lr_D', 'lr_G', 'd_steps', 'batch_size', 'loss'
ROUNDS = 800


class QuickGame(Game):
    """A game whose distances to the target, which take most of its time, are left out."""

    def _distances(self, X: Tensor, Z: Tensor) -> dict[str, float]:
        return {}


def clouds_reached(settings: dict[str, Any], seed: int = 0, rounds: int = ROUNDS) -> int:
    """How many of the ring's eight clouds hold 2 % of the fakes after such a game."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)

        def net(outputs: int) -> nn.Module:
            leaky = nn.LeakyReLU(0.2)
            hidden = nn.Linear(2, 24), leaky, nn.Linear(24, 24), leaky
            return nn.Sequential(*hidden, nn.Linear(24, outputs))

        points = torch.randn(100, 2)
        given = {**COLLAPSING, **settings, 'target': 'ring of eight', 'seed': seed}
        game = QuickGame(net(1), net(2), points, **given)
        game.step(rounds)
        with torch.no_grad():
            fake_X = game.net_G(torch.randn(1000, 2))
    angle = torch.arange(8) * (torch.pi / 4)
    distance, index = torch.cdist(fake_X, 2 * torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    return int((torch.bincount(index[distance < 0.5], minlength=8) >= 20).sum())


@exercise('ring', points=2)
def ring(answer: Any) -> str:
    """A dict of settings of the lab with which the ring of eight does not collapse."""
    if not isinstance(answer, dict):
        raise Wrong(f'A dict such as {{"lr_G": 0.001}} was expected; this is {described(answer)}.')
    if not answer:
        raise Wrong('An empty dict changes nothing: the ring collapses as before.')
    if unknown := set(answer) - set(KNOBS):
        raise Wrong(f'{", ".join(map(str, unknown))} is no knob of this game: {", ".join(KNOBS)}.')
    try:
        reached = clouds_reached(answer)
    except (ValueError, TypeError, FloatingPointError) as error:
        raise Wrong(f'The lab says: {error}.') from error
    if reached >= 4:
        return f'{reached} of the eight clouds are reached after {ROUNDS} rounds.'
    game = COLLAPSING | answer
    found = f'{reached} of the eight clouds after {ROUNDS} rounds. '
    if game['lr_G'] < 0.0005:
        raise Wrong(found + 'A slower G moves less; it does not see more. Who is too slow here?')
    if game['lr_D'] < game['lr_G'] / 2:
        raise Wrong(found + 'D still learns far slower than G, and so finds out too late.')
    raise Wrong(found + 'At least 4 were asked for. Does D keep up, and does G still move?')


@exercise('hinge', points=2)
def hinge(answer: Any) -> str:
    """Two functions of logits (n, 1) of real points and of fakes: the hinge loss of D, of G."""
    loss_D, loss_G = as_tuple(answer, 2)
    real_Y = torch.tensor([[2.0], [0.5], [-1.0], [3.0]])
    fake_Y = torch.tensor([[-2.0], [0.5], [1.0], [-0.25]])
    relu = nn.functional.relu
    right = (relu(1 - real_Y).mean() + relu(1 + fake_Y).mean()).item()
    said = as_number(ask(loss_D, real_Y, fake_Y), "D's loss")
    for value, reason in (
        ((relu(1 + real_Y).mean() + relu(1 - fake_Y).mean()).item(), "D's loss grows where D is "
         'right: real logits should rise above 1, fakes fall below -1.'),
        ((relu(-real_Y).mean() + relu(fake_Y).mean()).item(), 'The margin is missing: D pays until '
         'real logits are above *1*, and fakes below -1.'),
        ((1 - real_Y).mean().item() + (1 + fake_Y).mean().item(), 'Beyond the margin D pays '
         'nothing, and yours earns something: relu is missing.'),
        (4 * right, 'These are sums over the batch. The house takes means.'),
    ):  # fmt: skip
        if any(math.isclose(said, share * value, rel_tol=1e-4) for share in (1, 0.5)):
            raise Wrong(reason)
    if not any(math.isclose(said, share * right, rel_tol=1e-4) for share in (1, 0.5)):
        raise Wrong(f"D's loss should be {right:.3f}, or half of it, here; you say {said:.3f}.")
    said, right = as_number(ask(loss_G, real_Y, fake_Y), "G's loss"), -fake_Y.mean().item()
    if math.isclose(said, -right, rel_tol=1e-4):
        raise Wrong("G's loss grows when D is fooled: sign?")
    if math.isclose(said, relu(1 - fake_Y).mean().item(), rel_tol=1e-4):
        raise Wrong('G has no margin: it always wants a higher logit. Without relu, then.')
    if not math.isclose(said, right, rel_tol=1e-4):
        raise Wrong(f"G's loss should be {right:.3f} here; you say {said:.3f}.")
    return 'D pays inside the margin only, G always.'
