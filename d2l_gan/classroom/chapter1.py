"""The checks of chapter 1's exercises."""

from typing import Any

import torch

from d2l_gan.classroom.checks import Wrong, as_tensor, ask, close, exercise


def _bell(x: torch.Tensor, mean: float, std: float) -> torch.Tensor:
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
