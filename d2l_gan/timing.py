"""How long something takes, and sums that grow while it runs."""

import time

import numpy as np
import torch


class Timer:
    """A stopwatch in seconds that starts at once and remembers every lap.

    GPUs work behind Python's back: the clock is read only after the pending work of `device` is
    done. Without a `device`, that is the accelerator in use, if any.

    >>> timer = Timer()
    >>> lap = timer.stop()
    >>> timer.sum() == lap == timer.times[0]
    True
    """

    def __init__(self, device: torch.device | str | None = None):
        self.device = None if device is None else torch.device(device)
        self.times: list[float] = []
        self.start()

    def _now(self) -> float:
        device = self.device or torch.accelerator.current_accelerator(check_available=True)
        if device is not None and device.type != 'cpu':
            torch.accelerator.synchronize(device)
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
        """Seconds from the first lap to each."""
        return np.cumsum(self.times).tolist()


class Accumulator:
    """Running sums over `n` quantities, kept on the device until one is read.

    Numbers and one-element tensors can be added. Tensors are detached, so that no graph stays
    alive, and summed where they are, so that nothing waits for a GPU. Reading gives a float.

    >>> metric = Accumulator(2)
    >>> metric.add(0.5, 8)
    >>> metric[1]
    8.0
    """

    def __init__(self, n: int):
        if n < 1:
            raise ValueError(f'n must be at least 1, the number of sums; got {n}')
        self.data: list[float | torch.Tensor] = [0.0] * n

    def add(self, *args: float | torch.Tensor) -> None:
        """Add one value to each sum. ValueError if there are more or fewer values than sums."""
        if len(args) != len(self.data):
            raise ValueError(f'add takes one value per sum, {len(self.data)}; got {len(args)}')
        self.data = [self._sum(a, b) for a, b in zip(self.data, args, strict=True)]

    @staticmethod
    def _sum(total, value):
        if not isinstance(value, torch.Tensor):
            return total + float(value)
        if value.numel() != 1:
            raise ValueError(f'a sum takes one-element tensors; got shape {tuple(value.shape)}')
        # Doubles, as Python's floats are. Apple's GPU has none.
        dtype = torch.float32 if value.device.type == 'mps' else torch.float64
        return value.detach().reshape(()).to(dtype) + total

    def reset(self) -> None:
        """Set every sum back to zero."""
        self.data = [0.0] * len(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx: int) -> float:
        return float(self.data[idx])
