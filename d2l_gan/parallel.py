"""One GAN on several processes: who takes which images, and batch normalisation over all of them.

Each process holds both networks, works on its part of each batch, and DistributedDataParallel
averages the gradients. Alone, without `torchrun`, everything here is the identity.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed.nn  # before there is a group: imported later, it keeps the group for ever
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from d2l_gan.device import try_gpu


def rank() -> int:
    """The number of this process, 0 for the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own_device() -> torch.device:
    """A GPU for each process of this machine, where there are as many; else the CPU for all."""
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if processes == 1:
        return try_gpu()
    enough = torch.cuda.device_count() >= processes
    return try_gpu(int(os.environ['LOCAL_RANK'])) if enough else torch.device('cpu')


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Join the group that `torchrun` started; alone, do nothing.

    NCCL carries what lies on GPUs, gloo the rest, such as the features that are gathered.
    """
    if 'TORCHELASTIC_RUN_ID' not in os.environ:
        yield
        return
    store, number, count = next(distributed.rendezvous('env://'))
    if os.environ['GROUP_WORLD_SIZE'] == '1':
        # torchrun keeps one store for all attempts of a machine, and with it the addresses of
        # processes that are dead; whoever reads them waits in vain.
        store = distributed.PrefixStore(os.environ['TORCHELASTIC_RESTART_COUNT'], store)
    backend = 'cpu:gloo,cuda:nccl' if device.type == 'cuda' else 'gloo'
    distributed.init_process_group(backend, store=store, rank=number, world_size=count)
    went_well = False
    try:
        yield
        went_well = True
    finally:
        if went_well or device.type != 'cuda':  # NCCL would wait for processes that wait for this
            distributed.destroy_process_group()


def part(batch: Tensor) -> Tensor:
    """This process's part of a batch: no example in two parts, none in no part."""
    return batch.tensor_split(world_size())[rank()]


def share(batch: Tensor) -> float:
    """What a mean over this process's part weighs in the mean of all, times their number.

    DDP gives all processes' gradients the same weight; parts may differ by one example.
    """
    return len(part(batch)) * world_size() / len(batch)


def together(net: nn.Module) -> nn.Module:
    """The network with its gradients averaged over all processes.

    Buffers are not broadcast: batch normalisation's are the same everywhere by construction, and
    PyTorch refuses two forward passes before a backward pass where they are.
    """
    if world_size() == 1:
        return net
    names = inspect.signature(DistributedDataParallel).parameters
    name = 'forward_sync_buffers' if 'forward_sync_buffers' in names else 'broadcast_buffers'
    options: dict[str, Any] = {name: False}
    return DistributedDataParallel(net, **options)


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, (n, ...) each with its own n, on every process."""
    if world_size() == 1:
        return rows
    lengths = torch.zeros(world_size(), dtype=torch.int64, device=rows.device)
    lengths[rank()] = len(rows)
    distributed.all_reduce(lengths)
    longest = int(lengths.max())
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    distributed.all_gather(parts, padded)
    return torch.cat([p[:n] for p, n in zip(parts, lengths.tolist(), strict=True)])


def over_all(
    values: list[float], device: torch.device, how: Any = distributed.ReduceOp.SUM
) -> list[float]:
    """Each value's sum over all processes, or what else `how` says."""
    if world_size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float32, device=device)
    distributed.all_reduce(tensor, how)
    return tensor.tolist()


def wait() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        distributed.barrier()


class SumOfAll(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradient is such a sum, too, and so on."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """Add up."""
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Each process's loss depends on every process's numbers."""
        return SumOfAll.apply(gradient)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are those of the batch over all processes.

    PyTorch's SyncBatchNorm refuses the CPU, and on GPUs it has no second derivative, which the R1
    penalty needs. Here one differentiable all_reduce carries the sums.
    """

    def forward(self, X: Tensor) -> Tensor:
        """X (batch, channels, height, width), normalised channel by channel."""
        if not self.training or world_size() == 1:
            return super().forward(X)
        whole = X.float()  # under autocast X may have three digits only
        var, mean = torch.var_mean(whole, (0, 2, 3), correction=0)
        var, mean = var.double(), mean.double()  # differences of squares lose digits in single
        count = torch.full_like(mean, X.numel() / X.shape[1])
        sums = torch.stack([count, count * mean, count * (var + mean.square())])
        n, first, second = SumOfAll.apply(sums)
        mean = first / n
        var = second / n - mean.square()
        self._remember(mean.detach(), (var * n / (n - 1)).detach())
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        shape = 1, -1, 1, 1
        return torch.addcmul(shift.float().view(shape), whole, scale.float().view(shape)).to(
            X.dtype
        )

    def _remember(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics; without a momentum, to the mean of all batches."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        step = self.momentum or 1 / self.num_batches_tracked.item()
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            assert running is not None
            running.lerp_(new.to(running.dtype), step)


def share_batch_norm(net: nn.Module) -> None:
    """Make every `BatchNorm2d` of a network a `SharedBatchNorm2d`, weights and all."""
    for layer in net.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SharedBatchNorm2d
