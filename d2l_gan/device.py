"""Where tensors live, where they come from, and how to start from a seed."""

import random

import numpy as np
import torch

tensor = torch.tensor
arange = torch.arange
normal = torch.normal
matmul = torch.matmul


def numpy(x: torch.Tensor) -> np.ndarray:
    """`x` as a NumPy array, whatever its device and whether or not it needs a gradient."""
    return x.detach().cpu().numpy()


def try_gpu(i: int = 0) -> torch.device:
    """CUDA device `i` where it exists, else Apple's GPU (for `i` = 0), else the CPU."""
    if i < 0:
        raise ValueError(f'i must be 0 or more, the number of a CUDA device; got {i}')
    if torch.cuda.is_available() and i < torch.cuda.device_count():
        return torch.device(f'cuda:{i}')
    if i == 0 and torch.backends.mps.is_available():
        return torch.device('mps')
    return torch.device('cpu')


def seed_everything(seed: int) -> None:
    """Start the random numbers of Python, NumPy and PyTorch (every device) from `seed`.

    Same seed, same machine, same thread count: the same run on the CPU. On another machine the
    last digits of a sum may differ, and a GAN amplifies them.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
