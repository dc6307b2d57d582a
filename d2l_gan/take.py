"""Take a trained generator away, as one file that draws without this package::

    python -m d2l_gan.take runs/first --to creatures.pt2

Then, wherever PyTorch is installed::

    import torch
    generator = torch.export.load('creatures.pt2').module()
    images = generator(torch.randn(8, 100, 1, 1))  # (8, 3, 64, 64), in [-1, 1]

With `--to creatures.onnx` the same for ONNX Runtime, without PyTorch::

    import numpy, onnxruntime
    generator = onnxruntime.InferenceSession('creatures.onnx')
    (images,) = generator.run(None, {'noise': numpy.random.randn(8, 100, 1, 1).astype('float32')})

With `--to creatures.safetensors` the weights alone, by the names of `d2l_gan.dcgan.make_G`.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils import parametrize

from d2l_gan.files import put_in_place
from d2l_gan.train import Config, Refused, Run, Trainer, first_whole, one_of, read_config, settled


def trained_generator(run: Path) -> tuple[nn.Module, Config]:
    """The generator of a run's best checkpoint, or else of its last, ready to draw; its options.

    Raises
    ------
    Refused
        Where the folder holds no run, or no checkpoint that is whole
    """
    if not (run / 'config.json').exists():
        raise Refused(f'{run} holds no run: there is no config.json in it')
    config = Config(**read_config(run / 'config.json'))
    trainer = Trainer(config, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.device('cpu'))
    best_first = sorted(Run(run).saved(), key=lambda path: path.name != 'best.pt')
    first_whole(best_first, trainer)
    net_G = settled(trainer.drawer, trainer.noise(5, 0, 2048))
    net_G = getattr(net_G, 'module', net_G)  # of an average
    for layer in net_G.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, 'weight')
    return net_G.requires_grad_(False), config


def write_pt2(net_G: nn.Module, example: Tensor, path: Path) -> None:
    """A program of `torch.export`, for any number of images."""
    program = torch.export.export(net_G, (example,), dynamic_shapes=({0: Dim('batch')},))
    torch.export.save(program, path)


def write_onnx(net_G: nn.Module, example: Tensor, path: Path) -> None:
    """A graph of ONNX, from `noise` to `images`, for any number of them."""
    names: dict[str, Any] = {'input_names': ['noise'], 'output_names': ['images']}
    with redirect_stdout(io.StringIO()):  # it reports its steps
        torch.onnx.export(
            net_G, (example,), path, dynamo=True, external_data=False, verbose=False,
            dynamic_shapes=({0: Dim('batch')},), **names,
        )  # fmt: skip


def write_safetensors(net_G: nn.Module, example: Tensor, path: Path) -> None:
    """The weights, by the names of `make_G`."""
    from safetensors.torch import save_file

    save_file({name: w.contiguous() for name, w in net_G.state_dict().items()}, path)


WRITERS = {'.pt2': write_pt2, '.onnx': write_onnx, '.safetensors': write_safetensors}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the file."""
    parser = argparse.ArgumentParser('python -m d2l_gan.take', description=__doc__.split('\n')[0])
    parser.add_argument('run', type=Path, metavar='RUN')
    parser.add_argument('--to', type=Path, required=True, metavar='FILE')
    args = parser.parse_args(arguments)
    try:
        kind = args.to.suffix
        one_of('--to', kind, WRITERS)
        net_G, config = trained_generator(args.run)
        with put_in_place(args.to) as new:
            WRITERS[kind](net_G, torch.randn(2, config.latent_dim, 1, 1), new.with_suffix(kind))
            new.with_suffix(kind).rename(new)
    except Refused as error:
        sys.exit(f'd2l_gan.take: {error}')
    except ImportError as error:
        sys.exit(f"d2l_gan.take: {kind} needs {error.name}: pip install 'd2l-gan[export]'")
    print(f'{args.to}: {args.to.stat().st_size / 1e6:.1f} MB, noise of {config.latent_dim} numbers')


if __name__ == '__main__':
    main()
