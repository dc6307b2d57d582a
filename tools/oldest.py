"""The lowest versions that pyproject.toml allows, as pip's constraints: for `make oldest`."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / 'pyproject.toml'


def pins(project: dict) -> list[str]:
    """`name>=floor` becomes `name==floor`, for the package itself and for what its tests need."""
    extras = project['optional-dependencies']
    listed = project['dependencies'] + extras['test']
    for itself in [r for r in listed if '[' in r]:  # as in d2l-gan[export]
        listed.remove(itself)
        listed += extras[re.search(r'\[(\w+)\]', itself)[1]]
    return [re.sub(r'^([\w.-]+)>=([\w.]+)$', r'\1==\2', requirement) for requirement in listed]


if __name__ == '__main__':
    print('\n'.join(pins(tomllib.loads(PROJECT.read_text(encoding='utf-8'))['project'])))
