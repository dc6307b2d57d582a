"""Take a trained generator away, as one file that draws without this package.

    python -m d2l_gan.take runs/first --to creatures.pt2

Then, wherever PyTorch is installed:

    import torch
    generator = torch.export.load('creatures.pt2').module()
    images = generator(torch.randn(8, 100, 1, 1))  # (8, 3, 64, 64), in [-1, 1]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim
from torch.nn.utils import parametrize

from d2l_gan.files import put_in_place
from d2l_gan.train import Config, Refused, Trainer, first_whole, read_config, settled


def trained_generator(run: Path) -> tuple[nn.Module, Config]:
    """The generator of a run's best checkpoint, or else of its last, ready to draw; its options.

    Raises
    ------
    Refused : where the folder holds no run, or no checkpoint that is whole
    """
    if not (run / 'config.json').exists():
        raise Refused(f'{run} holds no run: there is no config.json in it')
    config = Config(**read_config(run / 'config.json'))
    trainer = Trainer(config, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.device('cpu'))
    first_whole(sorted((run / 'checkpoints').glob('*.pt')), trainer)  # best.pt is before step-...
    net_G = settled(trainer.drawer, trainer.noise(5, 0, 2048))
    net_G = getattr(net_G, 'module', net_G)  # of an average
    for layer in net_G.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, 'weight')
    return net_G.requires_grad_(False), config


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the file."""
    parser = argparse.ArgumentParser('python -m d2l_gan.take', description=__doc__.split('\n')[0])
    parser.add_argument('run', type=Path, metavar='RUN')
    parser.add_argument('--to', type=Path, required=True, metavar='FILE.pt2')
    args = parser.parse_args(arguments)
    try:
        net_G, config = trained_generator(args.run)
    except Refused as error:
        sys.exit(f'd2l_gan.take: {error}')
    example = (torch.randn(2, config.latent_dim, 1, 1),)
    program = torch.export.export(net_G, example, dynamic_shapes=({0: Dim('batch')},))
    with put_in_place(args.to) as new:
        torch.export.save(program, new.with_suffix('.pt2'))
        new.with_suffix('.pt2').rename(new)
    print(f'{args.to}: {args.to.stat().st_size / 1e6:.1f} MB, noise of {config.latent_dim} numbers')


if __name__ == '__main__':
    main()
