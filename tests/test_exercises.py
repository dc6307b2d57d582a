"""The exercises: made from the solutions, and what a student may do to them."""

import nbformat
import pytest
from exercises import EXERCISES, PLACE_TO_WRITE, SOLUTIONS, for_students, stub

PATHS = sorted(SOLUTIONS.glob('*.ipynb'))


@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_the_students_version_is_in_step_with_the_solutions(path):
    made = for_students(nbformat.read(path, as_version=4))
    assert made == nbformat.read(EXERCISES / path.name, as_version=4), 'run make exercises'
    assert PLACE_TO_WRITE in [cell.source for cell in made.cells]


def test_a_stub_keeps_what_the_student_needs_and_nothing_of_the_answer():
    answer = '''import torch

# both of them
pair = 1, 2
shape: tuple = (
    2,
    3,
)


@torch.no_grad()
def f(
    x,
    y,
):
    """What it does.

    More of it.
    """
    # secret
    z = x
    return z


def g(x):
    # secret
    return x


class G(torch.nn.Module):
    """What it is."""

    def __init__(self, secret=1):
        super().__init__()

    def forward(self, Z):
        return Z
'''
    assert (
        stub(answer)
        == '''import torch

# both of them
pair = ...
shape: tuple = ...


@torch.no_grad()
def f(
    x,
    y,
):
    """What it does.

    More of it.
    """
    ...


def g(x):
    ...


class G(torch.nn.Module):
    """What it is."""

    def __init__(self, secret=1):
        ...

    def forward(self, Z):
        ...'''
    )
