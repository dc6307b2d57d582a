"""The checks of chapter 2's exercises."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from d2l_gan.classroom.chapter1 import QuickGame
from d2l_gan.classroom.checks import (
    Wrong,
    as_number,
    as_tensor,
    as_tuple,
    ask,
    close,
    described,
    exercise,
)
from d2l_gan.diagnosis import Diagnosis

# shapes

DOWN = 28, ((5, 2, 0), (3, 2, 1), (4, 1, 0), (3, 1, 1))  # a side, then kernel, stride, padding
UP = 1, ((7, 1, 0), (4, 2, 1), (3, 2, 0), (5, 1, 2))


def _sides(start: int, layers: tuple, rule: Any) -> tuple[int, ...]:
    sides = [start]
    for k, s, p in layers:
        sides.append(rule(sides[-1], k, s, p))
    return tuple(sides[1:])


def _down(n: int, k: int, s: int, p: int) -> int:
    return (n - k + 2 * p + s) // s


def _up(n: int, k: int, s: int, p: int) -> int:
    return s * (n - 1) + k - 2 * p


SHAPE_SLIPS = (  # where, a rule that students take, and what is wrong with it
    (DOWN, lambda n, k, s, p: -(-(n - k + 2 * p + s) // s), 'It was rounded up. A kernel that '
     'does not fit in any more is left out: round down.'),
    (DOWN, lambda n, k, s, p: (n - k + s) // s, 'The padding is missing: the input is longer by '
     '2p before the kernel walks over it.'),
    (DOWN, lambda n, k, s, p: (n - k + 2 * p) // s, 'One place is missing: the kernel also stands '
     'where it starts, so add 1 to the number of its steps.'),
    (UP, lambda n, k, s, p: s * n + k - 2 * p, 'n pixels have n - 1 gaps between them, so the '
     'stride counts n - 1 times.'),
    (UP, lambda n, k, s, p: s * (n - 1) + k + 2 * p, 'Upwards the padding is cut off from the '
     'output: it makes it shorter.'),
    (UP, lambda n, k, s, p: s * (n - 1) + k, 'The padding is missing: p pixels are cut off at '
     'each end of the output.'),
)  # fmt: skip


@exercise('shapes')
def shapes(answer: Any) -> str:
    """A pair of four sides each: of the maps on the way down, and on the way up."""
    answers = as_tuple(answer, 2)
    for way, value, net, rule in zip(
        ('down', 'up'), answers, (DOWN, UP), (_down, _up), strict=True
    ):
        said = [as_number(side, f'a side on the way {way}') for side in as_tuple(value, 4, way)]
        if tuple(said) == _sides(*net, rule):
            continue
        for where, slip, reason in SHAPE_SLIPS:
            if where is net and tuple(said) == _sides(*net, slip):
                raise Wrong(f'On the way {way}: {reason}')
        before: float = net[0]
        for layer, (side, given) in enumerate(zip(said, net[1], strict=True), 1):
            if side != rule(int(before), *given):
                k, s, p = given
                raise Wrong(
                    f'On the way {way}, layer {layer} (kernel {k}, stride {s}, padding {p}) makes '
                    f'another side than {side:g} of {before:g}.'
                )
            before = side
    return 'All eight sides are as PyTorch has them.'


# cost


def _parameters(n: int) -> int:
    return 672 * n**2 + 12878 * n


def _multiply_adds(n: int) -> int:
    return 24576 * n**2 + 61952 * n


COST_SLIPS = (
    (_parameters, lambda n: 672 * n**2 + 12848 * n, 'Batch normalisation learns, too: a scale and '
     'a shift for each channel.'),
    (_parameters, lambda n: 672 * n**2 + 12893 * n + 3, 'These convolutions have no bias.'),
    (_parameters, lambda n: 672 * n**2 + 12863 * n, 'Batch normalisation learns two numbers for '
     'each channel, a scale and a shift; you have one.'),
    (_parameters, lambda n: 672 * n**2 + 12908 * n, 'The running means and variances are counted. '
     'They are noted, not learnt: no parameters.'),
    (_parameters, lambda n: 42 * n**2 + 833 * n, 'Each pair of channels has a kernel of 4 x 4 '
     'numbers, not one.'),
    (_multiply_adds, lambda n: 4 * 24576 * n**2 + (16 * 12800 + 4 * 49152) * n, 'You multiply at '
     'each pixel of the *output* with the whole kernel. A transposed convolution does it at each '
     'pixel of the input.'),
    (_multiply_adds, lambda n: 2 * (24576 * n**2 + 61952 * n), 'Twice too many: a multiplication '
     'and its addition count as one.'),
    (_multiply_adds, lambda n: 672 * n**2 + 12848 * n, 'This counts each weight once. A weight is '
     'used at every pixel of its input.'),
)  # fmt: skip


@exercise('cost', points=2)
def cost(answer: Any) -> str:
    """Two functions of n_G: the parameters of the chapter's generator, and its multiply-adds."""
    right = _parameters, _multiply_adds
    names = 'parameters', 'multiply_adds'
    for name, function, exact in zip(names, as_tuple(answer, 2), right, strict=True):
        widths = (1, 3, 16, 64)
        said = [as_number(ask(function, n), f'{name}({n})') for n in widths]
        if said == [exact(n) for n in widths]:
            continue
        for which, slip, reason in COST_SLIPS:
            if which is exact and said == [slip(n) for n in widths]:
                raise Wrong(f'{name}: {reason}')
        wrong = next(i for i, n in enumerate(widths) if said[i] != exact(n))
        way = 'few' if said[wrong] < exact(widths[wrong]) else 'many'
        raise Wrong(
            f'{name}({widths[wrong]}) is {said[wrong]:g}, which is too {way}. '
            'Write down each of the five layers: channels in, channels out, 16, pixels.'
        )
    return 'Both agree with the network at four widths.'


# bn-scale


@exercise('bn-scale', points=2)
def bn_scale(answer: Any) -> str:
    """A function of the scale's mean and deviation, and of a number of blocks, to the signal."""
    for mean, std, blocks in ((1.0, 0.02, 1), (0.0, 0.02, 1), (0.0, 0.02, 4), (0.5, 0.5, 3)):
        value = as_number(ask(answer, mean, std, blocks))
        square = (mean**2 + std**2) / 2
        if abs(value / square**0.5 - 1) < 0.05:
            continue
        at = f'For a scale from N({mean:g}, {std:g}) and {blocks} block{"s" * (blocks > 1)}: '
        if abs(value / square - 1) < 0.05:
            raise Wrong(at + 'this is the mean *square* of the signal. Take its root.')
        if abs(value / (2 * square) ** 0.5 - 1) < 0.05:
            raise Wrong(at + 'ReLU is missing. It sets one half of the values to zero.')
        if blocks > 1 and value < 0.7 * square**0.5:
            raise Wrong(
                at + 'you multiply from block to block. But the next batch normalisation divides '
                'by the size of what comes in, so nothing piles up.'
            )
        if mean == 0 and abs(value) < 1e-6:
            raise Wrong(
                at + 'a scale with mean 0 is not 0. Channel by channel it is some 0.02, above or '
                'below.'
            )
        if mean and std > 0.1 and abs(value / (mean / 2**0.5) - 1) < 0.05:
            raise Wrong(at + 'only the mean counts here. What does its deviation add?')
        raise Wrong(at + f'you say {value:.3g}. What is the mean square of ReLU(scale * x)?')
    return 'It shrinks to the size of one scale, however many blocks follow each other.'


# relu


def _detectors() -> list[tuple[nn.Module, Tensor]]:
    random = torch.Generator().manual_seed(0)
    found: list[tuple[nn.Module, Tensor]] = []
    for activation in (nn.LeakyReLU(0.2), nn.ReLU()):
        conv, last = nn.Conv2d(3, 4, 4, 2, 1), nn.Conv2d(4, 1, 4)
        for w in (*conv.parameters(), *last.parameters()):
            w.data = 0.3 * torch.randn(w.shape, generator=random)
        images = torch.randn(5, 3, 8, 8, generator=random)
        found.append((nn.Sequential(conv, activation, last), images))
    return found


@exercise('relu', points=2)
def relu(answer: Any) -> str:
    """A function of net_D and fakes (n, ...) to the size of the gradient at each fake, (n,)."""
    for net_D, fake_X in _detectors():
        n = len(fake_X)
        value = as_tensor(ask(answer, net_D, fake_X.clone()), (n,))
        X = fake_X.clone().requires_grad_()
        logits = net_D(X).flatten()

        def size(loss: Tensor, X: Tensor = X) -> Tensor:
            (slope,) = torch.autograd.grad(loss, X, retain_graph=True)
            return slope.flatten(1).norm(dim=1).double()

        right = size(nn.functional.softplus(-logits).sum())
        if close(value, right, 1e-3 * right.max().item()):
            continue
        for wrong, reason in (
            (right / n, 'These are n times too small: the mean over the batch divides by n. Each '
             'fake has a loss of its own, so take the sum.'),
            (size(logits.sum()), "This is the logit's slope. G's loss is -log D(G(z)), and its "
             'slope in the logit is at most 1.'),
            (size(nn.functional.softplus(logits).sum()), "This is the slope of D's loss, or of the "
             "minimax one. G's is -log D(G(z)): label 1 for fakes."),
            (right**2, 'These are squares. Take the root.'),
        ):  # fmt: skip
            if close(value, wrong, 1e-3 * wrong.max().item()):
                raise Wrong(reason)
        raise Wrong(
            f'For one fake the gradient has the size {right[0]:.3f}; you say {value[0]:.3f}. '
            'Take the norm over all pixels and channels of that fake.'
        )
    return 'Your sizes are those of the gradient of -log D(G(z)), fake by fake.'


# remedies

Runs = list[float]
TABLES: tuple[tuple[Runs, dict[str, Runs], list[str], str], ...] = (
    ([10, 12, 14], {'A': [20, 22, 24], 'B': [15, 30, 31]}, ['B', 'A'],
     'All runs without either are worse. The most missed comes first: the larger median.'),
    ([10, 12, 14], {'A': [13, 40, 50], 'B': [20, 21, 22]}, ['B'],
     'The runs without A are worse on average, but one of them lies among those of the whole '
     'cure: their dots mix, so these seeds do not prove it.'),
    ([10, 12, 14], {'A': [5, 6, 7], 'B': [9, 12, 13]}, [],
     'Nothing is missed here: without A it even gets better. An empty list is an answer.'),
    ([10, 12, 14], {'A': [20, 21, 90], 'B': [30, 31, 32]}, ['B', 'A'],
     'One bad run of three makes a large mean. Compare medians.'),
)  # fmt: skip


@exercise('remedies', points=2)
def remedies(answer: Any) -> str:
    """A function of runs of the whole cure, and a dict of runs without a remedy, to names."""
    for whole, without, right, reason in TABLES:
        said = ask(answer, list(whole), {name: list(runs) for name, runs in without.items()})
        if not isinstance(said, (list, tuple)) or not all(isinstance(name, str) for name in said):
            raise Wrong(f'A list of names was expected, but your answer is {described(said)}.')
        if list(said) == right:
            continue
        raise Wrong(f'Whole {whole}, without {without}: {reason}')
    return 'It names what is missed with every seed, and nothing that three seeds do not show.'


# diagnosis

BREAKDOWNS = 'G saturates', 'oscillating', 'D has won'
SETTINGS = 'loss', 'lr_D', 'lr_G', 'd_steps', 'batch_size'
ROUNDS = 150


def played(settings: Mapping[str, Any], seed: int = 0, rounds: int = ROUNDS) -> Diagnosis:
    """The diagnosis of a small game on a ring of eight, with these settings of `d2l.Game`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        leaky = nn.LeakyReLU(0.2)
        hidden = nn.Linear(2, 16), leaky, nn.Linear(16, 16), leaky
        net_D = nn.Sequential(*hidden, nn.Linear(16, 1))
        net_G = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
        points = torch.randn(64, 2)
    game = QuickGame(net_D, net_G, points, target='ring of eight', seed=seed, **settings)
    game.step(rounds)
    return game.diagnosis()


@exercise('diagnosis', points=2)
def diagnosis(answer: Any) -> str:
    """A dict from each of three verdicts to the settings of a game that gets it."""
    if not isinstance(answer, dict) or set(answer) != set(BREAKDOWNS):
        listed = ', '.join(map(repr, BREAKDOWNS))
        raise Wrong(f'A dict with the keys {listed} was expected; yours is {described(answer)}.')
    for verdict, settings in answer.items():
        if settings is ... or settings is None:
            raise Wrong(f'Nothing here yet: put settings in the place of the `...` of {verdict!r}.')
        if not isinstance(settings, dict) or not set(settings) <= set(SETTINGS):
            others = f'a dict of some of {", ".join(SETTINGS)} was expected'
            raise Wrong(f'{verdict}: {others}; yours is {described(settings)}.')
    for verdict, settings in answer.items():
        try:
            said = [played(settings, seed) for seed in range(2)]
            if len({each.verdict == verdict for each in said}) == 2:  # the third decides
                said.append(played(settings, 2))
        except (ValueError, TypeError, FloatingPointError) as error:
            raise Wrong(f'{verdict}: the game says: {error}.') from error
        found = [each.verdict for each in said]
        if found.count(verdict) < 2:
            raise Wrong(
                f'{verdict}: with {len(said)} seeds the game ended as {", ".join(found)}. '
                f'Its last words: {said[-1].evidence}.'
            )
    return 'All three break as named, with most seeds.'


# conditional


@exercise('conditional', points=3)
def conditional(answer: Any) -> str:
    """A class whose networks draw (n, channels, 32, 32) from Z (n, latent_dim, 1, 1) and kinds."""
    random = torch.Generator().manual_seed(0)
    for channels, num_kinds in ((3, 4), (1, 10)):
        net_G = ask(answer, latent_dim=6, n_G=4, num_kinds=num_kinds, channels=channels)
        Z = torch.randn(8, 6, 1, 1, generator=random)
        kinds = torch.arange(8) % num_kinds
        try:
            drawn = ask(net_G, Z, kinds)
        except Wrong as why:
            if '_backward_hooks' not in str(why):
                raise
            raise Wrong(
                'There is no network yet: put yours in the place of each `...`, '
                'and begin `__init__` with `super().__init__()`.'
            ) from None
        images = as_tensor(drawn, (8, channels, 32, 32), 'a batch of 8 images')
        if images.abs().max() > 1:
            raise Wrong('There are values beyond [-1, 1]. Does it end with tanh?')
        scale = images.std()
        if scale < 1e-6:
            raise Wrong('All pixels are equal: nothing of z comes out.')

        def change(Z: Tensor, kinds: Tensor, net_G: Any = net_G, images: Tensor = images) -> Tensor:
            return (as_tensor(ask(net_G, Z, kinds), tuple(images.shape)) - images).flatten(1).std(1)

        if change(Z, kinds).max() > 1e-4 * scale:
            raise Wrong('The same z and kind gave two images: is there chance in forward?')
        other = kinds.clone()
        other[5] = (kinds[5] + 1) % num_kinds
        moved = change(Z, other)
        if moved[5] < 1e-4 * scale:
            raise Wrong('Another kind, and the same image: the kind does not reach the layers.')
        if moved[5] <= moved[[0, 1, 2, 3, 4, 6, 7]].max():
            raise Wrong(
                'One image was asked for another kind, and others changed as much: '
                'each image needs its own kind, so do not take one for the whole batch.'
            )
        if change(Z.flip(0), kinds).max() < 1e-4 * scale:
            raise Wrong('Another z, and the same image: it draws one picture for each kind.')
        for illegal in (num_kinds, -1):
            try:
                ask(net_G, Z, torch.full((8,), illegal))
            except Wrong:
                continue
            raise Wrong(
                f'Kind {illegal} of {num_kinds} is none, and yet it is drawn. Refuse it, as '
                'one_hot and nn.Embedding do by themselves.'
            )
    return 'Noise and kind both reach the image, and a kind that is none is refused.'


# fashion


@exercise('fashion', points=2)
def fashion(answer: Any) -> str:
    """From bytes (n, 28, 28) to (n, 1, 32, 32) in [-1, 1], and labels to shares by category."""
    prepare, shares = as_tuple(answer, 2)
    pixels = torch.zeros(3, 28, 28, dtype=torch.uint8)
    pixels[0, 4:12, 6:20] = 255  # above the middle, wider than high
    pixels[1] = 255
    images = as_tensor(ask(prepare, pixels.clone()), (3, 1, 32, 32), 'what prepare returns')
    low, high = images.min().item(), images.max().item()
    if high > 200:
        raise Wrong('These are still bytes from 0 to 255. The networks speak [-1, 1].')
    if low >= -0.1:
        raise Wrong(f'Values from {low:.2g} to {high:.2g}. Black is -1 for tanh: stretch [0, 1].')
    if images[1, 0, 16, 16] < images[2, 0, 16, 16]:
        raise Wrong('Black and white have changed places.')
    if abs(low + 1) > 0.01 or abs(high - 1) > 0.01:
        raise Wrong(f'Values from {low:.3g} to {high:.3g} in place of -1 to 1.')
    if images[2].max() > -0.99:
        raise Wrong('A black image got a grey rim: pad with black before you stretch, or with -1.')
    light = images[0, 0] + 1
    rows, columns = light.sum(1), light.sum(0)
    if (rows > 1).sum() > (columns > 1).sum():
        raise Wrong('A bar that lies now stands: rows and columns have changed places.')
    if rows[:16].sum() < rows[16:].sum():
        raise Wrong('The image stands on its head.')
    asked = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    named = torch.tensor([0, 0, 0, 1, 1, 0, 0, 1, 2, 1])
    value = as_tensor(ask(shares, asked, named, 3), (3,), 'what shares returns')
    right = torch.tensor([0.75, 0.5, 0.25])
    for wrong, reason in (
        (right * 100, 'A share lies between 0 and 1; these are percentages.'),
        (torch.tensor([3, 1, 1]), 'These are counts. Divide by how often each was asked for.'),
        (torch.tensor([0.3, 0.1, 0.1]), 'You divide by all images; divide by those of a category.'),
        (torch.tensor([3 / 5, 1 / 4, 1]), 'You divide by how often a category was *named*. The '
         'question is what became of those that were *asked* for.'),
    ):  # fmt: skip
        if close(value, wrong.double()):
            raise Wrong(f'shares: {reason}')
    if not close(value, right.double()):
        raise Wrong(f'shares: {value.tolist()} in place of {right.tolist()}: of those asked for, '
                    'which share was named so?')  # fmt: skip
    return 'Pixels come as the networks want them, and shares are of what was asked for.'
