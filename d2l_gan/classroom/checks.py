"""`check(name, answer)`: is the answer to an exercise right, and if not, why not?

A check is a function of the answer. It returns what a right answer has shown, and raises `Wrong`
with the reason where it is not right. It may call the answer, but never look into it: the grader
gives it a stand-in whose calls go to the student's own process.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class Wrong(Exception):
    """An answer is not right yet; the text says why, in the terms of the task."""


@dataclass(frozen=True)
class Exercise:
    """What `check` knows of an exercise.

    Attributes
    ----------
    points : int, for a right answer
    judge : callable, from the answer to a sentence on what it has shown; raises Wrong
    """

    points: int
    judge: Callable[[Any], str]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and a sentence on why."""

    right: bool
    reason: str


#: The exercises by name, filled by the chapters' files.
EXERCISES: dict[str, Exercise] = {}
_verdicts: dict[str, Verdict] = {}  # the last one of each, for `solved`


def exercise(name: str, points: int = 1) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Decorate the check of an exercise: `check` then knows it by its name."""

    def register(judge: Callable[[Any], str]) -> Callable[[Any], str]:
        EXERCISES[name] = Exercise(points, judge)
        return judge

    return register


def verdict(name: str, answer: Any) -> Verdict:
    """Judge an answer; whatever it does, the result is a sentence and no traceback.

    Raises
    ------
    ValueError
        Where no exercise has this name
    """
    if name not in EXERCISES:
        raise ValueError(f'no exercise is called {name!r}; there are {", ".join(EXERCISES)}')
    try:
        if _empty(answer):
            raise Wrong('Nothing here yet: put your answer in the place of each `...` above.')
        return Verdict(True, EXERCISES[name].judge(answer))
    except Wrong as why:
        return Verdict(False, str(why))


def check(name: str, answer: Any) -> None:
    """Print whether the answer to an exercise is right, and why.

    Parameters
    ----------
    name : str, the exercise, as its check cell calls it
    answer : object, what the task asks for: a function, a number, a string, a tuple

    Raises
    ------
    ValueError
        Where no exercise has this name

    Examples
    --------
    >>> check('best-D', ...)
    ✗ best-D: not yet. Nothing here yet: put your answer in the place of each `...` above.
    """
    _verdicts[name] = said = verdict(name, answer)
    print(f'✓ {name}: right. {said.reason}' if said.right else f'✗ {name}: not yet. {said.reason}')


def solved(name: str) -> bool:
    """Whether the last check of this exercise said right; prints what is missing where it did not.

    For cells that build on an answer: they wait, in place of stopping with an error.
    """
    said = _verdicts.get(name)
    if said is None or not said.right:
        print(f'This cell waits until {name} is right.')
        return False
    return True


# What checks are made of.


def ask(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What the student's function returns; Wrong where it is none, stops, or returns nothing."""
    if not callable(function):
        raise Wrong(f'A function was expected, and this is {described(function)}.')
    try:
        value = function(*args, **kwargs)
    except Wrong:
        raise
    except Exception as error:
        words = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
        raise Wrong(f'Your code stopped with {words}.') from error
    if _empty(value):
        raise Wrong('Your function returns nothing yet: put its body in the place of the `...`.')
    return value


def as_tensor(value: Any, shape: tuple[int, ...], what: str = 'your answer') -> Tensor:
    """A float64 tensor of this shape; Wrong where type, shape or a number is not as it must be."""
    if not isinstance(value, Tensor):
        raise Wrong(f'A tensor of shape {shape} was expected, but {what} is {described(value)}.')
    if tuple(value.shape) != shape:
        raise Wrong(f'The shape {shape} was expected, but {what} has {tuple(value.shape)}.')
    value = value.detach().cpu().double()
    if not value.isfinite().all():
        raise Wrong(f'There are numbers in {what} that are infinite or NaN.')
    return value


def as_number(value: Any, what: str = 'your answer') -> float:
    """A number; Wrong where it is none, or not finite. A tensor with one element is a number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong(f'A number was expected, but {what} is {described(value)}.')
    if not math.isfinite(value):
        raise Wrong(f'A number was expected, but {what} is {value}.')
    return float(value)


def as_tuple(value: Any, length: int, what: str = 'your answer') -> tuple:
    """A tuple or list of this length, as a tuple; Wrong where it is none."""
    if not isinstance(value, (tuple, list)) or len(value) != length:
        raise Wrong(f'{length} values were expected, but {what} is {described(value)}.')
    return tuple(value)


def one_of(value: Any, choices: Collection[Any], what: str = 'your answer') -> Any:
    """One of the choices; Wrong where it is none of them."""
    if value not in choices:
        listed = ', '.join(map(repr, choices))
        raise Wrong(f'One of {listed} was expected, but {what} is {described(value)}.')
    return value


def close(value: Tensor | float, expected: Tensor | float, tolerance: float = 1e-4) -> bool:
    """Whether all numbers agree, up to `tolerance` of the largest expected one (or of 1)."""
    value, expected = torch.as_tensor(value).double(), torch.as_tensor(expected).double()
    return bool((value - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item()))


def described(value: Any) -> str:
    """A value in a few words, for a sentence: its type, and its size or itself."""
    if isinstance(value, Tensor):
        return f'a tensor of shape {tuple(value.shape)}'
    if isinstance(value, (tuple, list)):
        return f'a {type(value).__name__} of {len(value)}'
    if isinstance(value, (int, float, bool)):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + '…')
    if callable(value):
        return 'a function: call it, and give what it returns'
    return f'of type {type(value).__name__}'


def _empty(value: Any) -> bool:
    """Whether nothing was filled in: `...`, None, or a tuple that holds one."""
    if isinstance(value, (tuple, list)):
        return any(_empty(part) for part in value)
    return value is ... or value is None
