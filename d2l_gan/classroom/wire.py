"""How a student's values come to the grader: plain data, tensors, numbers for functions.

JSON and the bytes of tensors. Nothing that is read here can run: the other side is not trusted.
"""

import json
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

MOST_TEXT, MOST_BYTES, DEEPEST = 2**20, 2**26, 20
HEAD = struct.Struct('>QQ')
DTYPES = {
    str(dtype).removeprefix('torch.'): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        *(torch.complex64, torch.complex128),
    )
}


class TooLarge(Exception):
    """An answer is larger than the grader reads."""


class Garbled(Exception):
    """What came is no value: the student's process writes what only its worker may."""


def encode(value: Any, keep: Callable[[Any], int]) -> bytes:
    """A value as bytes; `keep` stores a callable and says its number.

    Raises
    ------
    TooLarge
        Beyond 1 MB of data or 64 MB of tensors
    """
    tensors: list[bytes] = []

    def tensor(part: Tensor) -> dict:
        part = part.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
        if part.numel() * part.element_size() > MOST_BYTES:
            raise TooLarge
        tensors.append(part.reshape(-1).view(torch.uint8).numpy().tobytes())
        name = str(part.dtype).removeprefix('torch.')
        return {'is': 'tensor', 'dtype': name, 'shape': list(part.shape)}

    def plain(part: Any, depth: int = 0) -> Any:
        if part is None or isinstance(part, (bool, float, str)):
            return part
        if isinstance(part, int) and abs(part) < 2**63:
            return int(part)
        if part is ...:
            return {'is': '...'}
        if isinstance(part, Tensor) and str(part.dtype).removeprefix('torch.') in DTYPES:
            return tensor(part)
        if depth < DEEPEST and isinstance(part, (list, tuple)):
            kind = 'list' if isinstance(part, list) else 'tuple'
            return {'is': kind, 'parts': [plain(p, depth + 1) for p in part]}
        if depth < DEEPEST and isinstance(part, dict):
            pairs = [[plain(k, depth + 1), plain(v, depth + 1)] for k, v in part.items()]
            return {'is': 'dict', 'parts': pairs}
        if callable(part):
            return {'is': 'function', 'number': keep(part)}
        return {'is': 'other', 'type': type(part).__name__}

    text = json.dumps(plain(value)).encode()
    if len(text) > MOST_TEXT or sum(map(len, tensors)) > MOST_BYTES:
        raise TooLarge
    return HEAD.pack(len(text), sum(map(len, tensors))) + text + b''.join(tensors)


def decode(text: bytes, tensors: bytes, function: Callable[[int], Any]) -> Any:
    """The value that `encode` made bytes; `function` makes a callable from a number.

    Raises
    ------
    Garbled
        Where the bytes are not what `encode` writes
    """
    at = 0

    def tensor(part: dict) -> Tensor:
        nonlocal at
        dtype, shape = DTYPES[part['dtype']], [int(n) for n in part['shape']]
        if min(shape, default=0) < 0 or len(shape) > 32:
            raise Garbled
        size = int(np.prod([*shape, dtype.itemsize], dtype=object))
        if size == 0:
            return torch.empty(shape, dtype=dtype)
        if at + size > len(tensors):
            raise Garbled
        at += size
        data = bytearray(tensors[at - size : at])
        return torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(shape)

    def value(part: Any, depth: int = 0) -> Any:
        if not isinstance(part, dict):
            return part
        kind = part['is']
        if depth > DEEPEST:
            raise Garbled
        if kind in ('list', 'tuple'):
            parts = [value(p, depth + 1) for p in part['parts']]
            return parts if kind == 'list' else tuple(parts)
        if kind == 'dict':
            return {value(k, depth + 1): value(v, depth + 1) for k, v in part['parts']}
        if kind == 'tensor':
            return tensor(part)
        if kind == 'function':
            return function(int(part['number']))
        if kind == 'other':
            return type(str(part['type'])[:40], (), {})()
        if kind == '...':
            return ...
        raise Garbled

    try:
        read = json.loads(text)
        if isinstance(read, list):
            raise Garbled
        return value(read)
    except Garbled:
        raise
    except Exception as error:  # whatever a hostile writer thought of
        raise Garbled from error


def read(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Text and tensors of the next message; None at the end of the stream.

    Raises
    ------
    TooLarge
        Where the message says that it is larger than allowed
    """
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    text, tensors = HEAD.unpack(head)
    if text > MOST_TEXT or tensors > MOST_BYTES:
        raise TooLarge
    parts = stream.read(text), stream.read(tensors)
    return parts if (len(parts[0]), len(parts[1])) == (text, tensors) else None
