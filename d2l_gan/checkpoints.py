"""A run on disk: written whole or not at all, and taken up again where it stopped."""

import os
import pickle
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 'd2l_gan checkpoint 1'
Part = nn.Module | torch.optim.Optimizer


class CheckpointError(ValueError):
    """The file is damaged, or it is not a checkpoint of this run. Nothing was changed."""


def save_checkpoint(path: str | os.PathLike, parts: Mapping[str, Part], **values: Any) -> None:
    """Write the state of a run to `path`: as a whole, or the file there before stays.

    Parameters:
        parts: by name, the networks, averages and optimisers that the run consists of.
        values: what else to keep: tensors, numbers, strings, and lists and dicts of these.

    The states of PyTorch's random number generators are kept too. Raises OSError where `path`
    cannot be written.
    """
    path = Path(path)
    state = {
        'format': FORMAT,
        'parts': {name: part.state_dict() for name, part in parts.items()},
        'values': values,
        'random': [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'{path.name}.unfinished')
    try:
        with open(unfinished, 'wb') as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Bring `parts` and the random numbers back to what `save_checkpoint` wrote to `path`.

    A run on the CPU that goes on from there gives the results of one that never stopped.

    Parameters: the parts by the names they were saved under, of the same shapes, on any device.
    Returns the values that were saved beside them, tensors on the CPU. The file is read as weights
    only: no code in it is ever run. Raises FileNotFoundError where there is none, and
    CheckpointError where it is damaged or belongs to something else.
    """
    state = _read(Path(path))
    if parts.keys() != state['parts'].keys():
        raise CheckpointError(
            f'{path} holds {", ".join(state["parts"])}; asked for were {", ".join(parts)}'
        )
    before = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            _restore(part, state['parts'][name])
    except (RuntimeError, ValueError, KeyError) as error:
        for earlier, saved in before.items():
            parts[earlier].load_state_dict(saved)
        cause = str(error).strip().replace('\n\t', ' ')
        raise CheckpointError(f'{path} was saved for another {name}: {cause}') from None
    on_cpu, *on_cuda = state['random']
    torch.set_rng_state(on_cpu)
    if len(on_cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(on_cuda)
    return state['values']


def _restore(part: Part, state: dict) -> None:
    part.load_state_dict(state)
    if isinstance(part, torch.optim.Optimizer):  # it does not look at shapes itself
        for p, moments in part.state.items():
            for name, moment in moments.items():
                if isinstance(moment, torch.Tensor) and moment.ndim and moment.shape != p.shape:
                    raise ValueError(f'{name} has shape {tuple(moment.shape)}, not {(*p.shape,)}')


def _read(path: Path) -> dict:
    if not path.exists():
        raise FileNotFoundError(f'no checkpoint at {path}')
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # PyTorch's own reader skips the checksums
        if broken:
            raise zipfile.BadZipFile(f'{broken} has the wrong checksum')
        state = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'{path} was not read: it asks for code to be run, and a checkpoint holds only '
            f'weights and numbers ({str(error).splitlines()[0]})'
        ) from None
    except Exception as error:  # what zipfile and torch raise for broken bytes is not documented
        raise CheckpointError(
            f'{path} is damaged, or not a checkpoint ({error}). '
            'Delete it to begin anew, or take an older one.'
        ) from None
    if not isinstance(state, dict) or state.get('format') != FORMAT:
        raise CheckpointError(
            f'{path} is a PyTorch file, but not one of d2l.save_checkpoint ({FORMAT!r})'
        )
    return state
