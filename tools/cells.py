"""The notebooks' cells, taken out of them: for the tests and the benchmarks."""

from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / 'notebooks'


def sources(stem: str) -> dict[str, str]:
    """The source of every cell of a notebook, by its id."""
    return {c.id: c.source for c in nbformat.read(NOTEBOOKS / f'{stem}.ipynb', 4).cells}


def defined_in(stem: str, *ids: str, **names) -> dict:
    """Run the cells `ids` of a notebook, after its imports, with `names` given."""
    source, namespace = sources(stem), dict(names)
    for cell_id in ('imports', *ids):
        exec(compile(source[cell_id], cell_id, 'exec'), namespace)
    return namespace
