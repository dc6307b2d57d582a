"""A submitted notebook: which of the teacher's it belongs to, and the student's answers in it."""

import ast
import json
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

LARGEST = 100 * 2**20  # bytes of a notebook


class Unreadable(Exception):
    """A file is no submission; the text says why."""


@dataclass
class Cell:
    """A cell of a notebook: what of it matters here."""

    id: str
    kind: str
    source: str
    tags: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        """The source without the space around it."""
        return self.source.strip()

    @property
    def tree(self) -> ast.Module | None:
        """Its code as Python sees it, magics translated; None where it is none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                return ast.parse(TransformerManager().transform_cell(self.source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @property
    def names(self) -> set[str]:
        """The names that it defines."""
        return set(defined(self.tree.body)) if self.tree else set()

    @property
    def is_filled_in(self) -> bool:
        """Whether there is code in it, and no `...` left."""
        nodes = list(ast.walk(self.tree)) if self.tree else []
        left = any(isinstance(node, ast.Constant) and node.value is ... for node in nodes)
        return bool(self.content) and not left


def defined(statements: Iterable[ast.stmt]) -> Iterable[str]:
    """The names that statements define: functions, classes and what is assigned."""
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for part in (p for target in targets for p in ast.walk(target)):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part.id


@dataclass
class Teacher:
    """A notebook of solutions: what the grader runs, and in what order."""

    name: str
    cells: list[Cell]

    @property
    def by_id(self) -> dict[str, Cell]:
        """Its cells."""
        return {cell.id: cell for cell in self.cells}

    @property
    def answers(self) -> list[Cell]:
        """The cells whose place the student's take."""
        return [c for c in self.cells if c.kind == 'code' and 'solution' in c.tags]

    @property
    def exercises(self) -> list[str]:
        """The names of its exercises, in order."""
        return [name for cell in self.cells for name, _ in checks_of(cell)]


@dataclass
class Submission:
    """What was found in a submitted notebook.

    Attributes
    ----------
    teacher : the notebook that it answers
    answers : from the id of an answer's cell to the code to run in its place, piece by piece
    notes : sentences on what had to be mended
    """

    teacher: Teacher
    answers: dict[str, list[str]]
    notes: list[str]


def checks_of(cell: Cell) -> list[tuple[str, str]]:
    """The exercises that a teacher's cell checks: name, and the expression that is the answer."""
    if cell.kind != 'code' or 'check' not in cell.tags or cell.tree is None:
        return []
    calls = [node for node in ast.walk(cell.tree) if isinstance(node, ast.Call)]
    return [
        (call.args[0].value, ast.unparse(call.args[1]))
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == 'check'
        and len(call.args) == 2
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]


def read_cells(path: Path) -> tuple[list[Cell], list[str]]:
    """The cells of a notebook of any version, and notes on it.

    Raises
    ------
    Unreadable
        Where the file is no notebook
    """
    if path.is_symlink() or not path.is_file():
        raise Unreadable('This is no plain file.')
    if path.suffix != '.ipynb':
        raise Unreadable(f'This is no notebook: its name ends in {path.suffix or "nothing"}.')
    try:
        if path.stat().st_size > LARGEST:
            raise Unreadable('The notebook is larger than 100 MB: clear its outputs, save it.')
        text = path.read_text('utf-8-sig')
        if not text.strip():
            raise Unreadable('The file is empty.')
        raw = json.loads(text)
    except OSError as error:
        raise Unreadable(f'The file cannot be read: {error.strerror}.') from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable('This is no notebook: it is not the JSON that Jupyter saves.') from error
    notes = []
    try:
        version = raw.get('nbformat', 4)
        if 'worksheets' in raw or version < 4:
            notes.append(f'It is a notebook of version {version}; it was converted.')
            raw = _converted(raw)
        spec = raw.get('metadata', {}).get('kernelspec', {})
        kernel = str(spec.get('name', 'python3'))
        if kernel != 'python3':
            notes.append(f'Its kernel is called {kernel!r}; it was graded with Python here.')
        return [_cell(cell) for cell in raw['cells']], notes
    except Unreadable:
        raise
    except Exception as error:  # JSON of any shape at all
        raise Unreadable('This is no notebook: it is JSON, but has no cells.') from error


def _converted(raw: dict) -> dict:
    """A notebook of an older version as one of version 4."""
    try:
        import nbformat
    except ImportError as error:
        raise Unreadable('It is a notebook of version 3: install nbformat, grade again.') from error
    logging.getLogger('traitlets').setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return nbformat.convert(nbformat.from_dict(raw), 4)


def _cell(raw: dict) -> Cell:
    source, metadata = raw['source'], raw.get('metadata', {})
    source = source if isinstance(source, str) else ''.join(source)
    own = metadata.get('id', '')  # Colab's place for it
    return Cell(str(raw.get('id', own)), raw['cell_type'], source, metadata.get('tags', []))


def read_teacher(path: Path) -> Teacher:
    """A notebook of solutions."""
    return Teacher(path.name, read_cells(path)[0])


def read_submission(path: Path, teachers: list[Teacher]) -> Submission:
    """A submitted notebook, and the answers in it.

    Raises
    ------
    Unreadable
        Where it is no notebook, or answers none of the teacher's
    """
    cells, notes = read_cells(path)
    best = max(teachers, key=lambda teacher: _kinship(teacher, cells))
    if _kinship(best, cells) == 0:
        raise Unreadable('None of the exercises is in it: was it made from another notebook?')
    finder = _Finder(best, cells)
    answers = {cell.id: finder.pieces(cell) for cell in best.answers}
    return Submission(best, answers, [*notes, *finder.notes()])


def _kinship(teacher: Teacher, cells: list[Cell]) -> int:
    """How many cells of its exercises a notebook has, by id, by content or by names."""
    own = [c for c in teacher.cells if {'solution', 'check', 'hint'} & set(c.tags)]
    ids, contents = {c.id for c in cells}, {c.content for c in cells}
    code = [cell.names for cell in cells if cell.kind == 'code']
    return sum(
        c.id in ids
        or c.content in contents
        or (c.kind == 'code' and bool(c.names) and any(c.names <= names for names in code))
        for c in own
    )


class _Finder:
    """Finds answers in a student's cells, and remembers what was out of place."""

    def __init__(self, teacher: Teacher, cells: list[Cell]) -> None:
        self.teacher, self.cells = teacher, cells
        self.said: list[str] = []
        known = {cell.content: cell.id for cell in teacher.cells if cell.content}
        for cell in cells:
            if cell.id not in teacher.by_id:  # lost, as in version 3, or new, as in a copy
                cell.id = known.get(cell.content, '')
        self.taken: dict[str, int] = {}  # from the id of an answer to its place

    def pieces(self, answer: Cell) -> list[str]:
        """The code that stands for an answer, cell by cell; none where it is missing."""
        at = self._place(answer)
        if at is None:
            return []
        self.taken[answer.id] = at
        before, after = self._strangers(at, -1), self._strangers(at, +1)
        above = at - len(before) - 1
        if above >= 0 and self.cells[above].id in {c.id for c in self.teacher.answers}:
            before = []  # they follow another answer, and are part of that
        if before or after:
            self.said.append(f'{answer.id} is split; its parts were put together.')
        return [cell.source for cell in [*before[::-1], self.cells[at], *after]]

    def _place(self, answer: Cell) -> int | None:
        """Where the answer is, or its best copy."""
        places = list(enumerate(self.cells))
        same = [i for i, c in places if c.id == answer.id and c.kind == 'code']
        wanted = answer.names
        alike = [
            i
            for i, c in places
            if not c.id and c.kind == 'code' and wanted and wanted <= c.names and c.is_filled_in
        ]
        filled = [i for i in same if self.cells[i].is_filled_in]
        if len(same) > 1:
            self.said.append(f'{answer.id} is there {len(same)} times; the last one counts.')
        if filled:
            return filled[-1]
        if alike:
            self.said.append(f'{answer.id} was found by what it defines, not by its id.')
            return alike[-1]
        full = [i for i in same if self.cells[i].content]
        if same:
            return (full or same)[-1]
        return self._between(answer)

    def _between(self, answer: Cell) -> int | None:
        """The first of the unknown cells in the place where the answer should be."""
        ids = [cell.id for cell in self.teacher.cells]
        for above in reversed(ids[: ids.index(answer.id)]):
            at = [i for i, cell in enumerate(self.cells) if cell.id == above]
            if at:
                if self._strangers(at[-1], +1):
                    self.said.append(f'{answer.id} is gone; the new cells in its place count.')
                    return at[-1] + 1
                break
        turned = any(cell.id == answer.id for cell in self.cells)
        self.said.append(f'{answer.id} is {"no code cell any more" if turned else "missing"}.')
        return None

    def _strangers(self, at: int, step: int) -> list[Cell]:
        """The unknown code cells beside a place, nearest first."""
        found, at = [], at + step
        while 0 <= at < len(self.cells):
            cell = self.cells[at]
            if cell.id or cell.kind != 'code':
                break
            found.append(cell)
            at += step
        return [cell for cell in found if cell.content]

    def notes(self) -> list[str]:
        """What was out of place."""
        places = list(self.taken.values())
        if places != sorted(places):
            self.said.append('Its answers are in another order; they were run in the right one.')
        sources = {cell.id: cell.content for cell in self.cells if cell.id}
        for cell in self.teacher.cells:
            if checks_of(cell) and sources.get(cell.id) != cell.content:
                how = 'edited' if cell.id in sources else 'deleted'
                self.said.append(f"{cell.id} was {how}; the teacher's was used.")
        return self.said
