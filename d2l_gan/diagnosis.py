"""What the figures of a game are, and what the figures of a run say about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from d2l_gan.losses import LOSSES, Loss

# How much of a run a verdict needs.
LEAST_RECORDS = 5  # in all: fewer are the start, not a course
LEAST_RECENT = 4  # read as the present, if a third of the run is less: one record is chance
RECORDS_TO_OPEN = 12  # before which a third of the run is too short to see a cloud open up
# Opinions, D(x) and D(G(z)), from 0 (fake) to 1 (real).
REJECTED = 0.15  # D(G(z)) below it: D is sure of nearly every fake
NEAR = 0.15  # of 1/2: a D that is fooled half of the time still sways so much by chance
FOOLED = 0.15  # D(G(z)) above D(x) by more than chance: D has it the wrong way round
HARDLY_APART = 0.2  # D(x) - D(G(z)) below it: D tells little, so it is not D who is ahead
APART = 0.45  # D(x) - D(G(z)) above it: D is right about nearly all
FAR_APART = 0.95  # D is right about all, wherever the fakes lie: its win explains the rest
SWING = 0.5  # of D(G(z)), half of its range: as wide as from sure to undecided
TURNS = 0.1  # share of records where D(G(z)) turns: a curve on its one way up or down has none
# The pull on a fake and its spread, both as `observe` gives them.
STARVED = 0.15  # pull below it: G moves at a seventh of full strength
NARROW = 0.35  # spread below it: a third of the real one, which no noise of a batch explains
OPEN = 0.15  # spread above which a cloud that grows is one: next to nothing grows fast, too
OPENING = 1.2  # growth of the spread since the first third that is more than its noise
ROWS_PER_COLUMN = 8  # fewer are too few for a covariance: the spread is then that of all columns


def observe(
    net_D: nn.Module, net_G: nn.Module, X: Tensor, Z: Tensor, loss: Loss = LOSSES['non-saturating']
) -> dict[str, float]:
    """The state of the game on a batch of real `X` and noise `Z`; neither net is changed.

    If `loss` compares real and fake (relativistic), X and Z must be equally long.

    Returns
    -------
    dict of float
        'D_real', 'D_fake': means of D's opinion of the real and of the fake ones, 0 to 1.
        'loss_D', 'loss_G': as `loss` has them, and 'grad_D', 'grad_G': the norms of their
        gradients in the weights of the player whom they move.
        'pull': mean size of the gradient of G's loss in a fake's logit, at most 1 in `LOSSES`.
        'spread': how much the fakes vary, as a share of how much the real ones do (standard
        deviations; for points where the share is least, for images over all pixels together).
    """

    def call(net: nn.Module, batch: Tensor) -> Tensor:  # batch norm updates copies of its averages
        copies = {name: buffer.clone() for name, buffer in net.named_buffers()}
        return torch.func.functional_call(net, copies, (batch,))

    def norm(value: Tensor, net: nn.Module) -> float:
        weights = [w for w in net.parameters() if w.requires_grad]
        grads = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        return sum(g.square().sum().item() for g in grads if g is not None) ** 0.5

    with torch.enable_grad():
        fake = call(net_G, Z)
        real_Y, fake_Y = call(net_D, X), call(net_D, fake)
        loss_D, loss_G = loss.D(real_Y, fake_Y), loss.G(real_Y, fake_Y)
        (pull,) = torch.autograd.grad(loss_G, fake_Y, retain_graph=True)
        return {
            'D_real': loss.opinion(real_Y, fake_Y).mean().item(),
            'D_fake': loss.opinion(fake_Y, real_Y).mean().item(),
            'loss_D': loss_D.item(),
            'loss_G': loss_G.item(),
            'grad_D': norm(loss_D, net_D),
            'grad_G': norm(loss_G, net_G),
            'pull': pull.abs().sum().item(),
            'spread': _spread(fake.detach().flatten(1), X.detach().flatten(1)),
        }


def _spread(fake: Tensor, real: Tensor) -> float:
    """How much the rows of `fake` vary, as a share of how much those of `real` do."""
    fake, real = ((X - X.mean(0)).double().cpu() for X in (fake, real))
    if real.shape[1] > len(real) // ROWS_PER_COLUMN:
        return (fake.square().mean() / real.square().mean().clamp(min=1e-24)).sqrt().item()
    whole = real.T @ real / len(real)
    whole += 1e-6 * (whole.trace() + 1e-12) * torch.eye(len(whole))
    root = torch.linalg.inv(torch.linalg.cholesky(whole))
    share = root @ (fake.T @ fake / len(fake)) @ root.T
    return torch.linalg.eigvalsh(share)[0].clamp(min=0).sqrt().item()


@dataclass(frozen=True)
class Diagnosis:
    """A verdict on a run, in plain words, and the figures that it rests on."""

    verdict: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f'{self.verdict}: {self.evidence}. {self.advice}'


#: The verdicts of `diagnose`, and what each advises.
ADVICE = {
    'too early to say': 'Train on, and record as you go.',
    'G saturates': 'Use the non-saturating loss, which keeps a gradient when D is sure.',
    'oscillating': "Lower both learning rates, lower Adam's first beta, or add a gradient penalty.",
    'samples collapsed':
        'Hold D back with a gradient penalty, or pair real and fake in a relativistic loss.',
    'D has won': "Lower D's learning rate, or add a gradient penalty.",
    'D is fooled':
        'G runs to where D is wrong; let D learn: more steps, or a larger learning rate.',
    'near equilibrium':
        'D cannot tell them apart; measure the samples to know whether they are good.',
}  # fmt: skip


def _said(verdict: str, evidence: str, advice: str = '') -> Diagnosis:
    return Diagnosis(verdict, evidence, advice or ADVICE[verdict])


def diagnose(history: Sequence[Mapping[str, float]]) -> Diagnosis:
    """What records as of `observe`, in order, say by the last third: a verdict from `ADVICE`.

    A game near equilibrium can still draw poorly: the players see each other, not the truth.
    """
    if len(history) < LEAST_RECORDS:
        return _said(
            'too early to say', f'{len(history)} of the {LEAST_RECORDS} records that it takes'
        )
    third = len(history) // 3
    keys = 'D_real', 'D_fake', 'pull', 'spread'
    table = torch.tensor([[r[key] for r in history] for key in keys], dtype=torch.float64)
    series = dict(zip(keys, table, strict=True))
    recent = {key: values[-max(third, LEAST_RECENT) :] for key, values in series.items()}
    real, fake, pull, spread = (values.mean().item() for values in recent.values())
    seen = f'D(x) is {real:.2f} and D(G(z)) {fake:.2f}'
    if fake < REJECTED and pull < STARVED:
        moves = f"a fake's logit moves G's loss by only {pull:.3f} per unit"
        return _said('G saturates', f'{seen}; {moves}')
    swing = (recent['D_fake'].max() - recent['D_fake'].min()).item()
    turns = (series['D_fake'].diff().sign().diff() != 0).double().mean().item()
    if swing > SWING and turns > TURNS:
        chase = f'D(G(z)) swings by {swing:.2f} while the players chase each other'
        return _said('oscillating', chase)
    before, least = series['spread'][:third].mean().item(), recent['spread'].min().item()
    opening_up = len(history) >= RECORDS_TO_OPEN and least > max(OPEN, OPENING * before)
    vary = f'vary {spread:.2f} times as much as real ones'
    if spread < NARROW and not opening_up and real - fake < FAR_APART:
        behind = 'D is behind: raise its learning rate, or give it more steps for each of G.'
        advice = behind if real - fake < HARDLY_APART else ''
        return _said('samples collapsed', f'generated samples {vary}; {seen}', advice)
    if real - fake > APART:
        return _said('D has won', f'{seen}; the gap leaves G little to learn from')
    if fake - real > FOOLED:
        return _said('D is fooled', f'{seen}: it takes the generated for real')
    if abs(real - 0.5) < NEAR and abs(fake - 0.5) < NEAR:
        return _said('near equilibrium', f'{seen}, both near 1/2; samples {vary}')
    undecided = f'{seen}, neither decided nor at rest'
    return _said('too early to say', undecided, 'Train on, then ask again.')
