"""One size of chapter 2's game in a process of its own, for `bench.py`: time, memory, work.

    python growth.py IMAGES BATCH N DEVICE

prints the milliseconds per image of a step, the peak memory in MB (of the device, else of this
process beyond what it had when its libraries were loaded), and the operations per image.
"""

import itertools
import json
import re
import sys
from pathlib import Path

import torch
from bench import image_nets, operations

import d2l_gan as d2l


class Noise(torch.utils.data.Dataset):
    """So many images of noise, each made when it is asked for."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(3, 64, 64) * 2 - 1, 0


class Some:
    """The first few batches of each pass."""

    def __init__(self, batches, count: int):
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        return itertools.islice(iter(self.batches), self.count)


def memory(field: str) -> int:
    """Bytes that this process holds (VmRSS) or has held at most (VmHWM); 0 where Linux is not.

    (`getrusage` counts its parent's too.)
    """
    status = Path('/proc/self/status')
    found = status.exists() and re.search(rf'{field}:\s*(\d+)', status.read_text())
    return 1024 * int(found[1]) if found else 0


def main() -> None:
    """Measure the size that the command line names."""
    (images, batch_size, n), device = map(int, sys.argv[1:4]), torch.device(sys.argv[4])
    names, net_D, net_G = image_nets(n, n)
    start = memory('VmRSS')
    loader = torch.utils.data.DataLoader(Noise(images), 256)
    batches = d2l.InMemory(loader, batch_size, device)
    steps = max(1, min(images, 256) // batch_size)
    times = []
    for _ in range(3):
        nets = names['make_nets']()
        timer = d2l.Timer(device)
        names['fit'](*nets, Some(batches, steps), 2e-4, 1)
        times.append(timer.stop() / (steps * batch_size))
    on_gpu = device.type == 'cuda'
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else memory('VmHWM') - start
    print(json.dumps([1000 * min(times), peak / 1e6, operations(net_D, net_G)]))


if __name__ == '__main__':
    main()
