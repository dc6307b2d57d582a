"""Make each deck of notebooks/slides one HTML file that opens without a network: `make slides`.

A deck is Markdown. `---` on a line of its own parts slides, `|||` two columns, and after `Notes:`
comes what the speaker sees. These lines bring in what the chapter's notebook holds:

    {code ID}           the source of the cell with this id, {code ID 3-9} some of its lines
    {output ID}         its stored outputs, pictures as large as they fit; {output ID 400} so high
    {text ID 1-4}       of its stored outputs the text alone, or some of its lines
    {figure FILE 300}   a picture of notebooks/img, so many pixels high, its alt text after that

A picture's alt text is the line `*Figure: ...*` above its cell. So nothing stands in a deck that
the chapter does not show.

Beside each chapter's page lies a notebook, the chapter with the slides' words among its cells, to
present and run in JupyterLab with jupyterlab-slideshow.
"""

import argparse
import html
import re
import shutil
from base64 import b64encode
from functools import partial
from pathlib import Path

import nbformat
from cells import NOTEBOOKS
from nbconvert.filters import ansi2html, markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

REVEAL = Path(__file__).parent / 'reveal'
DECKS = NOTEBOOKS / 'slides'
COLOURED = HtmlFormatter(style='xcode', nowrap=True)
KINDS = {'.png': 'image/png', '.svg': 'image/svg+xml'}


class Chapter:
    """The cells of a deck's notebook, by their ids; none where the deck has no notebook."""

    def __init__(self, stem: str):
        path = NOTEBOOKS / f'{stem}.ipynb'
        cells = nbformat.read(path, as_version=4).cells if path.exists() else []
        self.stem, self.cells, self.alt = stem, {cell.id: cell for cell in cells}, {}
        words = ''
        for cell in cells:
            if cell.cell_type == 'markdown':
                words = ' '.join(re.findall(r'^\*Figure: (.*)\*$', cell.source, re.M))
            self.alt[cell.id] = words

    def cell(self, cell_id: str) -> nbformat.NotebookNode:
        """The code cell with this id."""
        cell = self.cells.get(cell_id)
        if cell is None or cell.cell_type != 'code':
            raise ValueError(f'{self.stem}: no code cell is called {cell_id!r}')
        return cell

    def code(self, cell_id: str, lines: str = '') -> str:
        """A cell's source, in colours."""
        source = highlight(some(self.cell(cell_id).source, lines), PythonLexer(), COLOURED)
        return f'<pre class="code">{source.rstrip()}</pre>'

    def said(self, cell_id: str, lines: str = '') -> str:
        """The text that a cell left."""
        said = [
            output.get('text') or output.get('data', {}).get('text/plain', '')
            for output in self.cell(cell_id).outputs
            if 'image/png' not in output.get('data', {})
        ]
        shown = some('\n'.join(part.strip('\n') for part in said), lines)
        if not shown.strip():
            raise ValueError(f'{self.stem}: the cell {cell_id!r} has no text stored; make store')
        return shown

    def text(self, cell_id: str, lines: str = '') -> str:
        """The text that a cell left, as on a terminal."""
        return f'<pre class="output">{ansi2html(self.said(cell_id, lines))}</pre>'

    def output(self, cell_id: str, height: str = '440') -> str:
        """The pictures that a cell left, then its text."""
        outputs = [output.get('data', {}) for output in self.cell(cell_id).outputs]
        alt = self.alt[cell_id]
        pictures = [
            image(f'data:image/png;base64,{data["image/png"].strip()}', alt, height)
            for data in outputs
            if 'image/png' in data
        ]
        if not pictures:
            raise ValueError(f'{self.stem}: the cell {cell_id!r} has no picture stored; make store')
        return ''.join(pictures)


def some(text: str, lines: str) -> str:
    """The lines `3-9` of a text, or all of it."""
    if not lines:
        return text
    first, last = map(int, lines.split('-'))
    return '\n'.join(text.splitlines()[first - 1 : last])


def image(source: str, alt: str, height: str) -> str:
    """A picture; one without alt text is refused."""
    if not alt:
        raise ValueError('a picture without alt text: write *Figure: ...* above its cell')
    return f'<img src="{source}" alt="{html.escape(alt)}" style="height: {height}px">'


def figure(name: str, height: str, *words: str) -> str:
    """A picture of notebooks/img."""
    path = NOTEBOOKS / 'img' / name
    data = b64encode(path.read_bytes()).decode()
    return image(f'data:{KINDS[path.suffix]};base64,{data}', ' '.join(words), height)


def filled(chapter: Chapter, markdown: str) -> str:
    """HTML of Markdown with the chapter's cells in the places of `{...}`."""
    makers = {'code': chapter.code, 'output': chapter.output, 'text': chapter.text}
    parts: list[str] = []

    def keep(match: re.Match) -> str:
        kind, *given = match[1].split()
        if kind not in (*makers, 'figure'):
            raise ValueError(f'{chapter.stem}: {{{kind} ...}}: code, output, text or figure?')
        parts.append((figure if kind == 'figure' else makers[kind])(*given))
        return f'\n\nPLACE{len(parts) - 1}.\n\n'

    text = markdown2html(re.sub(r'(?m)^\{(.+)\}$', keep, markdown))
    text = re.sub('<a class="anchor-link".*?</a>', '', text)
    return re.sub(r'<p>PLACE(\d+)\.</p>', lambda match: parts[int(match[1])], text)


def slide(chapter: Chapter, source: str) -> str:
    """One slide, its notes in an aside."""
    shown, _, notes = source.partition('\nNotes:\n')
    head, *columns = shown.split('\n|||\n')
    make = partial(filled, chapter)
    if columns:
        title, _, first = head.strip().partition('\n')
        both = ''.join(f'<div>{make(column)}</div>' for column in (first, *columns))
        body = f'{make(title)}<div class="columns">{both}</div>'
    else:
        body = make(shown)
    return f'<section>{body}<aside class="notes">{make(notes)}</aside></section>'


def slides_of(path: Path) -> list[str]:
    """The source of each slide of a deck."""
    return re.split(r'(?m)^---$', path.read_text(encoding='utf-8'))


def typed(cell: nbformat.NotebookNode, slide_type: str | None) -> nbformat.NotebookNode:
    """The cell as a part of a slide show; without a type it continues a slide."""
    if slide_type:
        cell.metadata['slideshow'] = {'slide_type': slide_type}
    return cell


def live(path: Path) -> nbformat.NotebookNode:
    """The chapter with its deck among its cells; what no slide names can be run, and is skipped."""
    notebook = nbformat.read(NOTEBOOKS / f'{path.stem}.ipynb', as_version=4)
    chapter, left, cells = Chapter(path.stem), list(notebook.cells), []

    def again(match: re.Match) -> str:
        """What a cell of an earlier slide holds, as Markdown."""
        kind, cell_id, *lines = match[1].split()
        if kind == 'text':
            return f'```\n{chapter.said(cell_id, *lines)}\n```'
        return f'```python\n{some(chapter.cell(cell_id).source, *lines or [""])}\n```'

    for number, source in enumerate(slides_of(path)):
        shown, _, notes = source.partition('\nNotes:\n')
        kinds: dict[str, set[str]] = {}
        for kind, cell_id in re.findall(r'(?m)^\{(code|output|text) ([^ }]+)', shown):
            kinds.setdefault(cell_id, set()).add(kind)
        here = [i for i, cell in enumerate(left) if cell.id in kinds]  # none: shown before
        first, end = (here[0], here[-1] + 1) if here else (0, 0)
        before, named, left = left[:first], left[first:end], left[end:]
        cells += [typed(cell, 'skip') for cell in before]
        words = nbformat.v4.new_markdown_cell(id=f'slide-{number}')
        shown = re.sub(r'(?m)^\{figure (\S+) \S+ (.*)\}$', r'![\2](img/\1)', shown)
        for cell_id in kinds.keys() - {cell.id for cell in named}:
            shown = re.sub(rf'(?m)^\{{((?:code|text) {cell_id}\b.*)\}}$', again, shown)
        words.source = re.sub(r'(?m)^(\{.*\}|\|\|\|)$\n?', '', shown).strip()
        cells.append(typed(words, 'slide'))
        for cell in named:
            if 'code' not in kinds.get(cell.id, {'code'}):
                cell.metadata['jupyter'] = {'source_hidden': True}
            cells.append(typed(cell, None if cell.id in kinds else 'skip'))
        cells.append(typed(nbformat.v4.new_markdown_cell(notes, id=f'notes-{number}'), 'notes'))
    notebook.cells = cells + [typed(cell, 'skip') for cell in left]
    return notebook


def deck(path: Path) -> str:
    """The whole page of a deck."""
    chapter = Chapter(path.stem)
    slides = [slide(chapter, part) for part in slides_of(path)]

    def read(name: str) -> str:
        return (REVEAL / name).read_text(encoding='utf-8')

    def inlined(match: re.Match) -> str:
        font = b64encode((REVEAL / 'fonts' / match[1]).read_bytes()).decode()
        return f'src:url(data:font/woff2;base64,{font}) format("woff2")'

    katex = re.sub(r'src:url\(fonts/([\w-]+\.woff2)\)[^;}]*', inlined, read('katex.min.css'))
    colours = COLOURED.get_style_defs('.code')
    style = '\n'.join([read('reveal.css'), katex, colours, read('deck.css')])
    names = 'reveal.js', 'notes.js', 'katex.min.js', 'auto-render.min.js'
    scripts = [read(name).replace('</script', r'<\/script') for name in names]
    title = re.search(r'(?m)^# (.+)$', path.read_text(encoding='utf-8'))[1]
    return read('deck.html') % {
        'title': html.escape(title),
        'style': style,
        'slides': '\n'.join(slides),
        'scripts': '\n'.join(f'<script>{script}</script>' for script in scripts),
    }


def main() -> None:
    """Parse the command line, write the decks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('decks', nargs='*', type=Path, default=sorted(DECKS.glob('*.md')))
    parser.add_argument('--to', type=Path, default=Path('_build/slides'), metavar='FOLDER')
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    for path in args.decks:
        page = deck(path)
        (args.to / f'{path.stem}.html').write_text(page, encoding='utf-8')
        print(f'wrote {args.to / path.stem}.html, {len(page) / 1e6:.1f} MB')
        if (NOTEBOOKS / f'{path.stem}.ipynb').exists():
            nbformat.write(live(path), args.to / f'{path.stem}.ipynb')
            shutil.copytree(NOTEBOOKS / 'img', args.to / 'img', dirs_exist_ok=True)


if __name__ == '__main__':
    main()
