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

from d2l_gan.files import put_in_place

FORMAT = 'd2l_gan checkpoint 1'
Part = nn.Module | torch.optim.Optimizer


class CheckpointError(ValueError):
    """The file is damaged, or it is not a checkpoint of this run. Nothing was changed."""


def save_checkpoint(path: str | os.PathLike, parts: Mapping[str, Part], **values: Any) -> None:
    """Write the state of a run, PyTorch's random numbers included; or the file there before stays.

    Parameters
    ----------
    path : path, of the file; its folder is made; OSError where that cannot be written
    parts : dict, the networks, averages and optimisers that the run consists of
    **values : object, what else to keep: tensors, numbers, strings, and lists and dicts of these
    """
    state = {
        'format': FORMAT,
        'parts': {name: part.state_dict() for name, part in parts.items()},
        'values': values,
        'random': [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
    }
    with put_in_place(Path(path)) as new, open(new, 'wb') as file:
        torch.save(state, file)


def load_checkpoint(path: str | os.PathLike, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Bring `parts` and random numbers back to what was saved; return the values beside them.

    On the CPU, a run goes on as if it had never stopped. Values are on the CPU. No code is run.

    Parameters
    ----------
    path : path, of the file
    parts : dict, with the names they were saved under, of the same shapes, on any device

    Raises
    ------
    FileNotFoundError, CheckpointError
        Where there is no file, or none of this run
    """
    state = _read(Path(path))
    if parts.keys() != state['parts'].keys():
        raise CheckpointError(f'{path} holds {[*state["parts"]]}; asked for were {[*parts]}')
    before = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            _restore(part, state['parts'][name])
    except (RuntimeError, ValueError, KeyError) as error:
        for earlier, saved in before.items():
            parts[earlier].load_state_dict(saved)
        cause = str(error).strip().replace('\n\t', ' ')
        raise CheckpointError(f'{path} was saved for another {name}: {cause}') from None
    torch.set_rng_state(state['random'][0])
    if len(state['random']) == 1 + torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state['random'][1:])
    return state['values']


def _restore(part: Part, state: dict) -> None:
    """Load a part's state; ValueError where the moments of an optimiser do not fit."""
    part.load_state_dict(state)
    if isinstance(part, torch.optim.Optimizer):  # it does not look at shapes itself
        for p, moments in part.state.items():
            for name, moment in moments.items():
                if isinstance(moment, torch.Tensor) and moment.ndim and moment.shape != p.shape:
                    raise ValueError(f'{name} has shape {tuple(moment.shape)}, not {(*p.shape,)}')


def _read(path: Path) -> dict:
    """Read what `save_checkpoint` wrote, or say what the file is instead."""
    if not path.exists():
        raise FileNotFoundError(f'no checkpoint at {path}')
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():  # PyTorch's own reader skips the checksums
                raise zipfile.BadZipFile(f'{broken} has the wrong checksum')
        state = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f'{path} asks for code to be run; a checkpoint is data only'
        ) from None
    except Exception as error:  # what zipfile and torch raise for broken bytes is not documented
        advice = 'Delete it to begin anew, or take an older one'
        raise CheckpointError(f'{path} is damaged, or no checkpoint ({error}). {advice}') from None
    if not isinstance(state, dict) or state.get('format') != FORMAT:
        raise CheckpointError(f'{path} is of PyTorch, but not one of d2l.save_checkpoint')
    return state
