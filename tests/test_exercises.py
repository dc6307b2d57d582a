"""The exercises: made from the solutions, whole, and what a student may do to them."""

import json
import re

import nbclient
import nbformat
import pytest
import torch
from cells import NOTEBOOKS
from exercises import EXERCISES as FOR_STUDENTS
from exercises import PLACE_TO_WRITE, SOLUTIONS, for_students, stub

import d2l_gan as d2l
from d2l_gan.classroom.checks import (
    EXERCISES,
    Wrong,
    as_number,
    as_tensor,
    as_tuple,
    ask,
    close,
    described,
    exercise,
    one_of,
    verdict,
)

PATHS = sorted(SOLUTIONS.glob('*.ipynb'))
BOTH = pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
CHECK = r"d2l\.check\('([\w-]+)', .+\)"


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get('tags', [])


def checked(notebook):
    """The names of a notebook's exercises, in its order."""
    cells = [cell for cell in notebook.cells if 'check' in tags(cell)]
    return [re.fullmatch(CHECK, cell.source)[1] for cell in cells]


@BOTH
def test_the_students_version_is_in_step_with_the_solutions(path):
    made = for_students(read(path))
    assert made == read(FOR_STUDENTS / path.name), 'run make exercises'
    written = [c for c in read(path).cells if c.cell_type == 'markdown' and 'solution' in tags(c)]
    assert [c.source for c in made.cells].count(PLACE_TO_WRITE) == len(written)


def test_every_exercise_stands_in_one_notebook_with_all_its_parts():
    names = sum((checked(read(path)) for path in PATHS), [])
    assert sorted(names) == sorted(EXERCISES)
    for path in PATHS:
        cells = {cell.id: cell for cell in read(path).cells}
        for name in checked(read(path)):
            assert cells[f'{name}-task'].source.startswith('## ')
            assert '<details>' in cells[f'{name}-hint'].source
            assert 'solution' in tags(cells[f'{name}-answer'])
            assert cells[f'{name}-after'].source.startswith('**Now you should believe:**')
            (output,) = cells[f'{name}-check'].outputs
            assert output.text.startswith(f'✓ {name}: right. ')


@BOTH
def test_what_a_student_is_to_find_does_not_stand_in_his_notebook(path):
    text = (FOR_STUDENTS / path.name).read_text(encoding='utf-8')
    solved = {cell.id: cell for cell in read(path).cells}
    for name in checked(read(path)):
        answer = solved[f'{name}-answer'].source
        hollow = stub(answer)
        assert '...' in hollow
        lost = [line.strip() for line in answer.splitlines() if line not in hollow.splitlines()]
        given = '\n'.join(cell.source for cell in solved.values() if cell.id != f'{name}-answer')
        for line in lost:
            if len(line) > 25 and line not in given:
                assert json.dumps(line)[1:-1] not in text, line


@pytest.mark.slow
@BOTH
def test_the_students_version_runs_from_top_to_bottom_and_asks_for_answers(path):
    notebook = read(FOR_STUDENTS / path.name)
    folder = {'metadata': {'path': str(NOTEBOOKS / 'exercises')}}
    nbclient.NotebookClient(notebook, timeout=120, resources=folder).execute()
    said = [cell.outputs[0].text for cell in notebook.cells if 'check' in tags(cell)]
    for name, text in zip(checked(notebook), said, strict=True):
        assert text.startswith(f'✗ {name}: not yet. ')
        assert '`...`' in text


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


# The parts that checks are made of


@pytest.mark.parametrize('empty', (..., None, (1, ...), [None]))
def test_an_empty_answer_gets_a_friendly_sentence(empty, capsys):
    d2l.check('best-D', empty)
    assert capsys.readouterr().out.startswith('✗ best-D: not yet. Nothing here yet: ')


def test_an_exercise_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no exercise is called 'bestD'; there are best-D, "):
        d2l.check('bestD', 1)


def test_an_answer_that_stops_gives_its_error_as_the_reason():
    for error, words in (
        (ZeroDivisionError('division by zero'), 'ZeroDivisionError: division'),
        (KeyError(), 'KeyError.'),
    ):

        def stops(*_, error=error):
            raise error

        said = verdict('best-D', stops)
        assert not said.right
        assert f'Your code stopped with {words}' in said.reason


def test_a_cell_that_builds_on_an_answer_waits_for_it(capsys, monkeypatch):
    monkeypatch.setitem(EXERCISES, 'one', EXERCISES['best-D'])
    exercise('one')(lambda answer: 'It is one.' if answer == 1 else one_of(answer, [1]))
    assert not d2l.solved('one')
    d2l.check('one', 2)
    assert not d2l.solved('one')
    d2l.check('one', 1)
    assert d2l.solved('one')
    d2l.check('one', 2)
    assert not d2l.solved('one')
    waits = 'This cell waits until one is right.\n'
    assert capsys.readouterr().out.count(waits) == 3


@pytest.mark.parametrize(('part', 'reason'), (
    (lambda: ask(3), 'A function was expected, and this is 3'),
    (lambda: ask(lambda: None), 'returns nothing yet'),
    (lambda: ask(lambda: (1, ...)), 'returns nothing yet'),
    (lambda: as_tensor([1], (1,)), r'of shape \(1,\) was expected, but your answer is a list of 1'),
    (lambda: as_tensor(torch.ones(2), (1,), 'd'), r'shape \(1,\) was expected, but d has \(2,\)'),
    (lambda: as_tensor(torch.tensor([torch.inf]), (1,)), 'infinite or NaN'),
    (lambda: as_number('1'), "A number was expected, but your answer is '1'"),
    (lambda: as_number(True), 'but your answer is True'),
    (lambda: as_number(float('nan')), 'but your answer is nan'),
    (lambda: as_number(torch.ones(2)), r'a tensor of shape \(2,\)'),
    (lambda: as_tuple((1, 2), 3), '3 values were expected, but your answer is a tuple of 2'),
    (lambda: as_tuple(1, 2), 'but your answer is 1'),
    (lambda: one_of('c', ['a', 'b']), "One of 'a', 'b' was expected, but your answer is 'c'"),
    (lambda: one_of(print, ['a']), 'a function: call it'),
))  # fmt: skip
def test_a_wrong_type_or_shape_is_named(part, reason):
    with pytest.raises(Wrong, match=reason):
        part()


def test_right_types_pass():
    assert as_tensor(torch.ones(2, 3), (2, 3)).dtype == torch.float64
    assert as_number(torch.tensor([2])) == 2.0
    assert as_tuple([1, 2], 2) == (1, 2)
    assert ask(lambda x, y=1: x + y, 1, y=2) == 3
    assert close(torch.tensor([1e-5, 1000.01]), torch.tensor([0.0, 1000.0]))
    assert not close(1.001, 1.0)
    assert described(object()) == 'of type object'
    assert len(described('x' * 99)) < 50
