"""How long something takes, how far it is, and sums that grow while it runs."""

import os
import time
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from tqdm.auto import tqdm


def progress(items: Iterable | None = None, **options: Any) -> tqdm:
    """`items`, with a bar that shows how far a loop is and goes when it ends.

    `options` are those of `tqdm.auto.tqdm`. With TQDM_DISABLE=1 in the environment there is no
    bar, in notebooks too, where tqdm itself does not listen to it.
    """
    defaults = {'leave': False, 'disable': 'TQDM_DISABLE' in os.environ}
    return tqdm(items, **defaults | options)


class Timer:
    """A stopwatch in seconds that starts at once and remembers every lap.

    Parameters
    ----------
    device : torch.device or str, a GPU whose work is waited for; by default the one in use
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        if device is None and torch.accelerator.is_available():
            device = torch.accelerator.current_accelerator()
        self.device = torch.device(device or 'cpu')
        self.times: list[float] = []
        self.start()

    def _now(self) -> float:
        if self.device.type != 'cpu':
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def start(self) -> None:
        """Start a lap."""
        self.tik = self._now()

    def stop(self) -> float:
        """End the lap, remember it, return its seconds."""
        self.times.append(self._now() - self.tik)
        return self.times[-1]

    def avg(self) -> float:
        """Mean seconds per lap; 0 before the first."""
        return self.sum() / len(self.times) if self.times else 0.0

    def sum(self) -> float:
        """Seconds of all laps together."""
        return sum(self.times)

    def cumsum(self) -> list[float]:
        """Seconds of each lap and those before it."""
        return list(accumulate(self.times))


def _double(value: float | torch.Tensor) -> float | torch.Tensor:
    if not isinstance(value, torch.Tensor):
        return float(value)
    if value.numel() != 1:
        raise ValueError(f'a sum takes one-element tensors; got shape {tuple(value.shape)}')
    dtype = torch.float32 if value.device.type == 'mps' else torch.float64  # Apple has no doubles
    return value.detach().reshape(()).to(dtype)


class Accumulator:
    """Running sums over `n` quantities, kept on the device until one is read.

    Tensors are detached, so that no graph stays alive, and summed where they are, in double
    precision, so that nothing waits for a GPU. Reading gives a float.

    Examples
    --------
    >>> metric = Accumulator(2)
    >>> metric.add(0.5, 8)
    >>> metric[1]
    8.0
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f'n must be at least 1, the number of sums; got {n}')
        self.data: list[float | torch.Tensor] = [0.0] * n

    def add(self, *args: float | torch.Tensor) -> None:
        """Add one number or one-element tensor to each sum; ValueError where it does not fit."""
        if len(args) != len(self.data):
            raise ValueError(f'add takes one value per sum, {len(self.data)}; got {len(args)}')
        self.data = [_double(value) + total for value, total in zip(args, self.data, strict=True)]

    def reset(self) -> None:
        """Set every sum back to zero."""
        self.data = [0.0] * len(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx: int) -> float:
        return float(self.data[idx])
