"""Batches: cut from tensors, or decoded once and kept in memory."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils import data
from torch.utils.data import DataLoader

from d2l_gan.timing import progress


def load_array(data_arrays: Sequence[Tensor], batch_size: int, is_train: bool = True) -> DataLoader:
    """Cut tensors into batches: each at once, not put together from single examples.

    Parameters
    ----------
    data_arrays : tuple of Tensor, shape (n, ...), the same n in each
    batch_size : int, at least 1; the last batch may be smaller
    is_train : bool, whether each pass has a new order

    Returns
    -------
    loader : DataLoader, of lists of tensors of shape (batch, ...), one per array

    Raises
    ------
    TypeError, ValueError
        Where the arguments do not fit

    Examples
    --------
    >>> import torch
    >>> [y.tolist() for x, y in load_array((torch.zeros(3, 2), torch.arange(3)), 2, is_train=False)]
    [[0, 1], [2]]
    """
    expected = 'data_arrays must be a tuple of tensors, such as (data,)'
    if isinstance(data_arrays, Tensor):
        raise TypeError(f'{expected}; got a tensor of shape {tuple(data_arrays.shape)}')
    if others := [type(x).__name__ for x in data_arrays if not isinstance(x, Tensor)]:
        raise TypeError(f'{expected}; got one with a {others[0]}')
    shapes = tuple(tuple(x.shape) for x in data_arrays)
    lengths = {shape[:1] or (0,) for shape in shapes}
    if len(lengths) != 1 or (0,) in lengths:
        raise ValueError(f'data_arrays must share their first dimension, at least 1; got {shapes}')
    dataset = data.TensorDataset(*data_arrays)
    order = data.RandomSampler(dataset) if is_train else data.SequentialSampler(dataset)
    batches = data.BatchSampler(order, batch_size, drop_last=False)
    return DataLoader(dataset, sampler=batches, batch_size=None)


class InMemory:
    """The images of a loader, decoded once and kept as bytes: a pass gives (X, y) in a new order.

    `pixels` are bytes, shape (n, channels, height, width), on a GPU where they take at most half of
    what is free there, else in this machine's memory; `labels`, shape (n,), are on `device`.

    Parameters
    ----------
    loader : DataLoader, of (X, y), X of shape (batch, channels, height, width) in [-1, 1]
    batch_size : int, for the batches that come out
    device : torch.device or str, for these batches

    Raises
    ------
    MemoryError
        Where the bytes fit nowhere
    """

    def __init__(self, loader: DataLoader, batch_size: int, device: torch.device | str = 'cpu'):
        self.batch_size, self.device = batch_size, torch.device(device)
        count, done = len(loader.dataset), 0  # type: ignore[arg-type]
        shape = loader.dataset[0][0].shape if count else (0,)
        self.pixels = _allocate((count, *shape), self.device)
        self.labels = torch.zeros(count, dtype=torch.int64, device=self.device)
        # NumPy copies with one thread; PyTorch's second would wait busily, at the workers' cost.
        pixels = self.pixels.numpy() if self.pixels.device.type == 'cpu' else self.pixels
        with progress(total=len(loader), desc='images', unit='batch') as bar:
            for X, y in loader:  # not through the bar, which would start the workers twice
                here = slice(done, done := done + len(X))
                pixels[here] = torch.add(torch.tensor(128.0), X, alpha=127.5).to(torch.uint8)
                self.labels[here] = y
                bar.update()
        self.pixels, self.labels = self.pixels[:done], self.labels[:done]  # drop_last leaves some

    def __len__(self) -> int:
        return -(-len(self.pixels) // self.batch_size)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Tensor:
        """The images at `index`, back in [-1, 1]."""
        return self.pixels[index].to(self.device).float().div_(127.5).sub_(1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self.pixels)).to(self.device).split(self.batch_size):
            yield self[chosen.to(self.pixels.device)], self.labels[chosen]


def _allocate(shape: Sequence[int], device: torch.device) -> Tensor:
    """Bytes of a shape, not filled, on the device or else in this machine's memory."""
    size = torch.Size(shape).numel()
    if device.type == 'cuda' and size > torch.cuda.mem_get_info(device)[0] / 2:
        device = torch.device('cpu')
    try:
        return torch.empty(*shape, dtype=torch.uint8, device=device)
    except (MemoryError, RuntimeError):
        needed = f'{shape[0]} images take {size / 1e6:.0f} MB, more than {device.type} memory has'
        raise MemoryError(f'{needed}: take fewer, or smaller ones') from None


def get_dataloader_workers() -> int:
    """How many worker processes a DataLoader should have here: one per usable core, at most 4.

    0 where they are not forked (Windows, macOS, Python 3.14): they could not import a notebook.
    """
    method = multiprocessing.get_start_method(allow_none=True)  # asking so does not fix it
    if (method or multiprocessing.get_all_start_methods()[0]) != 'fork':
        return 0
    affinity = getattr(os, 'sched_getaffinity', None)
    return min(4, len(affinity(0)) if affinity else os.cpu_count() or 1)
