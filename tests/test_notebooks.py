"""The stored notebooks: clean, run in order, and in step with the package.

That they run, and that their outputs are still true, is nbval's part.
"""

import ast
import inspect
import re
from pathlib import Path

import nbformat
import pytest

import d2l_gan as d2l

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def definitions(source):
    """The functions and classes at the top of a source text: name -> text without decorators."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name: ast.get_source_segment(source, node)
        for node in ast.parse(source).body
        if isinstance(node, kinds)
    }


def test_both_chapters_are_there():
    assert [path.stem for path in NOTEBOOKS][:2] == ['01_basic_gan', '02_dcgan']


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_valid_and_every_cell_has_a_readable_id(self, path):
        notebook = read(path)
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r'[a-zA-Z][\w-]{1,40}', cell_id) for cell_id in ids)

    def test_was_run_from_top_to_bottom(self, path):
        counts = [cell.execution_count for cell in code_cells(read(path))]
        assert counts == list(range(1, len(counts) + 1))

    def test_stores_no_error_warning_or_stderr(self, path):
        for output in outputs(read(path)):
            assert output.output_type != 'error'
            assert output.get('name') != 'stderr', output.text

    def test_stores_no_infinity_and_no_nan(self, path):
        """A figure that overflowed would be compared, run after run, with itself."""
        for cell in code_cells(read(path)):
            for output in cell.outputs:
                text = output.get('text', '') + output.get('data', {}).get('text/plain', '')
                assert not re.search(r'(?<![\w.])[+-]?(inf|nan)(?![\w.])', text), cell.id

    def test_stores_no_path_of_a_machine(self, path):
        text = path.read_text(encoding='utf-8')
        assert not re.search(r'(?<![\w.:/])/(?:home|root|tmp|work|Users|private|mnt)/', text)
        assert not re.search(r'[A-Z]:\\\\Users', text)

    def test_stores_no_stray_metadata(self, path):
        notebook = read(path)
        assert set(notebook.metadata) <= {'kernelspec', 'language_info', 'widgets'}
        assert notebook.metadata.language_info == {'name': 'python'}
        for cell in notebook.cells:
            assert set(cell.metadata) <= {'tags', 'editable', 'slideshow', 'jupyter'}

    def test_is_small_and_its_figures_are_png(self, path):
        assert path.stat().st_size < 1_500_000
        assert all('image/svg+xml' not in output.get('data', {}) for output in outputs(read(path)))
        assert any('image/png' in output.get('data', {}) for output in outputs(read(path)))

    def test_teaching_cells_are_short_and_hide_no_warning(self, path):
        for cell in code_cells(read(path)):
            assert 'filterwarnings' not in cell.source
            assert len(cell.source.splitlines()) <= 45, cell.id

    def test_every_training_cell_is_followed_by_claims(self, path):
        """What nbval cannot compare must be backed by statements that it does compare."""
        cells = code_cells(read(path))
        ignored = [
            i for i, c in enumerate(cells) if 'nbval-ignore-output' in c.metadata.get('tags', [])
        ]
        for i in ignored:
            later = [
                c for c in cells[i + 1 :] if 'nbval-ignore-output' not in c.metadata.get('tags', [])
            ]
            assert any('claim(' in cell.source for cell in later), cells[i].id

    def test_stored_claims_are_true(self, path):
        claims = [
            line
            for output in outputs(read(path))
            for line in output.get('text', '').splitlines()
            if re.search(r': (True|False)$', line)
        ]
        assert claims
        assert all(line.endswith(': True') for line in claims)

    def test_saved_cells_stand_in_the_package_word_for_word(self, path):
        for cell in code_cells(read(path)):
            if not re.search(r'#\s*@save', cell.source):
                continue
            for name, text in definitions(cell.source).items():
                module = inspect.getmodule(inspect.unwrap(getattr(d2l, name)))
                assert definitions(inspect.getsource(module))[name] == text

    def test_every_helper_it_uses_is_public(self, path):
        for cell in code_cells(read(path)):
            for name in re.findall(r'\bd2l\.(\w+)', cell.source):
                assert not name.startswith('_')
                assert hasattr(d2l, name), name

    def test_its_figures_and_links_exist(self, path):
        for cell in read(path).cells:
            for target in re.findall(r'\]\((?!https?:|#)([^)]+)\)', cell.source):
                assert (path.parent / target).exists(), target


def test_the_first_chapter_saves_both_steps():
    saved = [c.source for c in code_cells(read(NOTEBOOKS[0])) if re.search(r'#\s*@save', c.source)]
    assert {'update_D', 'update_G'} <= set(definitions('\n'.join(saved)))
