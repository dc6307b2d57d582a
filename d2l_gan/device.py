"""Where tensors live, where they come from, and how to start from a seed."""

import random
from typing import Any

import numpy as np
import torch

#: PyTorch's own, by the book's name.
tensor = torch.tensor
#: PyTorch's own, by the book's name.
arange = torch.arange
#: PyTorch's own, by the book's name.
normal = torch.normal
#: PyTorch's own, by the book's name.
matmul = torch.matmul


def numpy(x: torch.Tensor) -> np.ndarray:
    """`x` as a NumPy array, whatever its device and whether or not it needs a gradient."""
    return x.detach().cpu().numpy()


def try_gpu(i: int = 0) -> torch.device:
    """CUDA device `i` >= 0 where it exists, else Apple's GPU (for `i` = 0), else the CPU."""
    if i < 0:
        raise ValueError(f'i must be 0 or more, the number of a CUDA device; got {i}')
    if torch.cuda.is_available() and i < torch.cuda.device_count():
        return torch.device(f'cuda:{i}')
    if i == 0 and torch.backends.mps.is_available():
        return torch.device('mps')
    return torch.device('cpu')


def mixed_precision(device: torch.device | str) -> torch.autocast:
    """`with` this, convolutions and matrix products work in bfloat16 where `device` gains by it.

    That is on CUDA GPUs and on CPUs with bfloat16 instructions (AMX, AVX-512 BF16); elsewhere
    nothing changes. Weights stay in float32, results keep some three digits (Micikevicius, 2018).
    """
    kind = torch.device(device).type
    units: Any = getattr(torch.cpu, 'get_capabilities', dict)  # PyTorch 2.6 is too old to say
    gains = {
        'cuda': lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        'cpu': lambda: any(units().get(unit) for unit in ('amx_bf16', 'avx512_bf16')),
    }
    enabled = kind in gains and gains[kind]()
    # Without the cache, since a step changes the weights between two uses of one network.
    kind = kind if kind in gains else 'cpu'
    return torch.autocast(kind, torch.bfloat16, enabled, cache_enabled=False)


def seed_everything(seed: int) -> None:
    """Start the random numbers of Python, NumPy and PyTorch (every device) from `seed`.

    Same seed, same machine, same thread count: the same run on the CPU. On another machine the
    last digits of a sum may differ, and a GAN amplifies them.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
