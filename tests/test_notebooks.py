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
        assert path.stat().st_size < 2_500_000
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


WORDS = {
    'eleven': 11, 'twelve': 12, 'dozen': 12, 'fifteen': 15, 'sixteen': 16, 'twenty': 20,
    'thirty': 30, 'forty': 40, 'fifty': 50, 'sixty': 60, 'hundred': 100, 'thousand': 1000,
}  # fmt: skip
NUMBER = r'(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])'


def values(text):
    """The numbers that stand in a text, large ones in words included."""
    digits = {float(number.replace(',', '')) for number in re.findall(NUMBER, text)}
    return digits | {float(WORDS[w]) for w in re.findall('[a-z]+', text.lower()) if w in WORDS}


def prose(source):
    """A text without formulas, code, headings, years, and sentences that name their source."""
    for pattern in (
        r'(?s)\$\$.*?\$\$',
        r'\$.*?\$',
        r'`.*?`',
        r'(?m)^\*Figure: .*$',
        r'(?m)^#+ .*$',
    ):
        source = re.sub(pattern, ' ', source)
    source = re.sub(
        r"[^.\n]*(?:\]\(http|\bpaper\b|\bbook's\b|\bthe book\b)(?:[^.\n]|\.\S)*", ' ', source
    )
    return re.sub(r'\b(19|20)\d\d\b|(?m:^\*{0,2}\d+\. )', ' ', source)


def supports(known, number):
    """Whether one of the known numbers is this one, to the digits that the text gives."""
    decimals = len(f'{number:.10f}'.rstrip('0').split('.')[1])
    return any(round(value, decimals) == number for value in known)


def unsupported(notebook):
    """Numbers in the prose after a result that stand in no output before it and in no code."""
    known = values(' '.join(cell.source for cell in code_cells(notebook)).replace('_', ' '))
    after_result = False
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            for output in cell.outputs:
                text = output.get('text', '') + output.get('data', {}).get('text/plain', '')
                known |= values(text)
            after_result = bool(cell.outputs)
        elif after_result:
            text = prose(cell.source)
            percent = {float(p) for p in re.findall(r'(\d+) %', text)}
            for number in values(text):
                if not supports(known, number) and not (
                    number in percent and supports(known, number / 100)
                ):
                    yield cell.id, number


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_no_number_in_the_prose_of_a_result_without_an_output(path):
    assert list(unsupported(read(path))) == []


def test_a_number_that_no_output_shows_is_refused():
    notebook = nbformat.v4.new_notebook()
    output = nbformat.v4.new_output('stream', text='distance 16.2, recall 0.86')
    result = nbformat.v4.new_code_cell('print(1000)', outputs=[output])
    words = nbformat.v4.new_markdown_cell('It fell to 16.2, 86 %, from 1,000 and twenty: $x = 7$.')
    notebook.cells = [result, words]
    assert list(unsupported(notebook)) == [(words.id, 20.0)]
    words.source = 'It fell to 16 (He et al., 2015), and the book has 99.'
    assert list(unsupported(notebook)) == []
    words.source = 'It fell to 16.3.'
    assert list(unsupported(notebook)) == [(words.id, 16.3)]
