"""The lowest versions that pyproject.toml allows, as pip's constraints: for `make oldest`."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / 'pyproject.toml'


def pins(project: dict) -> list[str]:
    """`name>=floor` becomes `name==floor`, for the package itself and for what its tests need."""
    listed = project['dependencies'] + project['optional-dependencies']['test']
    return [re.sub(r'^([\w.-]+)>=([\w.]+)$', r'\1==\2', requirement) for requirement in listed]


if __name__ == '__main__':
    print('\n'.join(pins(tomllib.loads(PROJECT.read_text(encoding='utf-8'))['project'])))
