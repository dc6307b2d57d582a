"""What the package says of itself: every public name is told, and its examples are so."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import d2l_gan

MODULES = [info.name for info in pkgutil.walk_packages(d2l_gan.__path__, 'd2l_gan.')]
REFERENCE = Path(__file__).parents[1] / 'docs' / 'reference.rst'


@pytest.mark.parametrize('name', MODULES)
def test_the_examples_are_so(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


def test_there_are_examples():
    found = [example for name in MODULES for example in doctest.DocTestFinder().find(
        importlib.import_module(name)) if example.examples]  # fmt: skip
    assert len(found) >= 9


TYPES = {
    'int', 'float', 'str', 'bool', 'path', 'dict', 'object', 'callable', 'sequence', 'array',
    'Tensor', 'int Tensor', 'tuple of Tensor', 'sequence of Tensor', 'sequence of str', 'Figure',
    'ndarray of int', 'ndarray of Axes', 'nn.Module', 'DataLoader', 'torch.device or str',
}  # fmt: skip
SECTION = r'(?m)^ *(?:Parameters|Attributes|Returns)\n *-+\n((?: *\S.*\n?)*)'
TYPED = r' *[*\w][*\w, ]* : ((?:[^,;()]|\([^()]*\))+).*'


def test_each_parameter_has_a_type_and_then_its_words():
    told = re.findall(r'(?m)^\.\. automodule:: (.+)$', REFERENCE.read_text(encoding='utf-8'))
    found = 0
    for module in map(importlib.import_module, told):
        for example in doctest.DocTestFinder(exclude_empty=False).find(module):
            for line in '\n'.join(re.findall(SECTION, example.docstring)).splitlines():
                if match := re.fullmatch(TYPED, line):
                    assert match[1] in TYPES, (example.name, line)
                    found += 1
    assert found > 40


def test_every_file_of_the_package_is_in_the_reference():
    told = re.findall(r'(?m)^\.\. automodule:: (.+)$', REFERENCE.read_text(encoding='utf-8'))
    assert len(told) == len(set(told))
    inner = 'd2l_gan.classroom', 'd2l_gan.lab', 'd2l_gan.results'  # how they work inside
    files = {name for name in MODULES if not name.startswith(inner)}
    assert files | {'d2l_gan.lab', 'd2l_gan.classroom.checks', 'd2l_gan.classroom.questions'} == {
        *told
    }


def test_every_name_at_the_top_level_is_told():
    for name, value in vars(d2l_gan).items():
        if name.startswith('_') or inspect.ismodule(value) or name in ('WIDGETS', 'CLASSROOM'):
            continue
        if inspect.isroutine(value) or inspect.isclass(value):
            assert (value.__doc__ or '').strip(), name
