"""Make the students' exercises from the solutions: `make exercises`.

A code cell tagged `solution` keeps its imports, its comments between statements, the signatures and
docstrings of its functions and the names that it assigns; what is to be found becomes `...`. A text
cell tagged `solution` becomes a place to write in. Outputs go, ids stay: the grader finds answers
by them.
"""

import ast

import nbformat
from cells import NOTEBOOKS

SOLUTIONS, EXERCISES = NOTEBOOKS / 'solutions', NOTEBOOKS / 'exercises'
PLACE_TO_WRITE = '*Your derivation. Double-click, and write.*'


def hollowed(node: ast.stmt, source: str) -> str:
    """A statement without what the student is to find."""

    def written(part: ast.AST) -> str:
        return ast.get_source_segment(source, part)

    if isinstance(node, ast.Assign):
        return ' = '.join([*map(written, node.targets), '...'])
    if isinstance(node, ast.AnnAssign):
        return f'{written(node.target)}: {written(node.annotation)} = ...'
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return written(node)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    head_end = node.body[0].end_lineno if body is not node.body else body[0].lineno - 1
    head = source.splitlines()[first_line(node) - 1 : head_end]
    while not head[-1].rstrip().endswith((':', '"""')):  # comments before the first statement
        head.pop()
    indent = ' ' * node.body[0].col_offset
    if isinstance(node, ast.FunctionDef):
        return '\n'.join([*head, f'{indent}...'])
    parts = [indent + hollowed(part, source).lstrip() for part in body]
    return '\n'.join(head) + ('\n\n' if body is not node.body else '\n') + '\n\n'.join(parts)


def first_line(node: ast.stmt) -> int:
    """The number of the line in which a statement begins, with its decorators."""
    return min([node.lineno, *(d.lineno for d in getattr(node, 'decorator_list', []))])


def stub(source: str) -> str:
    """The source of an answer's cell without the answer."""
    lines, parts, end = source.splitlines(), [], 0
    for node in ast.parse(source).body:
        parts += lines[end : first_line(node) - 1] + [hollowed(node, source)]
        end = node.end_lineno
    return '\n'.join(parts)


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook that students get."""
    notebook = nbformat.from_dict(notebook)
    title = notebook.cells[0]
    title.source = title.source.replace('# Solutions to the exercises of', '# Exercises to', 1)
    for cell in notebook.cells:
        answer = 'solution' in cell.metadata.get('tags', [])
        if cell.cell_type == 'code':
            if cell.id != 'questions':  # whose text can be read where no kernel runs
                cell.outputs = []
            cell.execution_count = None
            cell.source = stub(cell.source) if answer else cell.source
        elif answer:
            cell.source = PLACE_TO_WRITE
    return notebook


def main() -> None:
    """Write the students' version of each notebook of solutions."""
    EXERCISES.mkdir(exist_ok=True)
    for path in sorted(SOLUTIONS.glob('*.ipynb')):
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(for_students(notebook), EXERCISES / path.name)
        print(f'wrote {(EXERCISES / path.name).relative_to(NOTEBOOKS.parent)}')


if __name__ == '__main__':
    main()
