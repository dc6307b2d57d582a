"""The decks: made from the chapters' cells, and shown as they will be shown, without a network."""

import re

import pytest
import slides
from slides import DECKS, Chapter, deck, slide, some

PATHS = sorted(DECKS.glob('*.md'))
SIZES = {'00_opening': (8, 12), '01_basic_gan': (15, 25), '02_dcgan': (15, 25)}

# For every slide in turn: what is larger than the slide, or reaches out of it.
TOO_LARGE = """() => {
    const found = [];
    for (let i = 0; i < Reveal.getTotalSlides(); i++) {
        Reveal.slide(i);
        const slide = Reveal.getCurrentSlide(), box = slide.getBoundingClientRect();
        const reach = slide.scrollHeight > slide.clientHeight + 1 ? ['the slide itself'] : [];
        for (const part of slide.querySelectorAll('*')) {
            if (part.closest('aside') || part.parentElement.closest('.katex')) continue;
            const its = part.getBoundingClientRect();
            if (its.width && (its.right > box.right + 1 || its.bottom > box.bottom + 1
                              || part.scrollWidth > part.clientWidth + 1 && part.tagName === 'PRE'))
                reach.push(part.tagName + ' ' + part.textContent.slice(0, 40));
        }
        if (reach.length) found.push([i + 1, ...reach]);
    }
    return found;
}"""
FAINT = """() => {
    const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = rgb => { const [r, g, b] = rgb.map(channel);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const ground = node => { for (; node; node = node.parentElement) {
        const c = numbers(getComputedStyle(node).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
    const found = [];
    for (const node of document.querySelectorAll('.slides *')) {
        const own = [...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim());
        if (!own || node.closest('aside, .katex-mathml')) continue;
        const ink = numbers(getComputedStyle(node).color).slice(0, 3);
        const [a, b] = [light(ink), light(ground(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) found.push([node.textContent.slice(0, 30), contrast]);
    }
    return found;
}"""
UNREAD = """() => [...document.querySelectorAll('.slides section')].flatMap((slide, i) => {
    const text = [...slide.querySelectorAll('*')].filter(n => !n.closest('.katex, pre, code'))
        .flatMap(n => [...n.childNodes]).filter(n => n.nodeType === 3)
        .map(n => n.textContent).join('');
    return slide.querySelector('.katex-error') || text.includes('$') ? [i + 1] : [];
})"""


@pytest.fixture
def show(chromium, tmp_path):
    """Open a deck's page from its file, offline; yields page and the requests that it made."""
    contexts = []

    def open_it(html):
        file = tmp_path / 'deck.html'
        file.write_text(html, encoding='utf-8')
        context = chromium.new_context(viewport={'width': 1280, 'height': 720}, offline=True)
        contexts.append(context)
        page, asked = context.new_page(), []
        page.on('request', lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_function('window.Reveal && Reveal.isReady()')
        page.evaluate('document.fonts.ready')
        return page, [url for url in asked if url != file.as_uri() and not url.startswith('data:')]

    yield open_it
    for context in contexts:
        context.close()


def test_all_three_decks_are_there():
    assert [path.stem for path in PATHS] == list(SIZES)


@pytest.mark.slow
@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_a_deck_shows_whole_and_readable_and_asks_for_nothing(path, show):
    html = deck(path)
    assert len(html) < 4_000_000
    page, asked = show(html)
    assert asked == []
    low, high = SIZES[path.stem]
    assert low <= page.evaluate('Reveal.getTotalSlides()') <= high
    assert page.evaluate(TOO_LARGE) == []
    assert page.evaluate(FAINT) == []
    assert page.evaluate(UNREAD) == []
    sections = page.locator('.slides section')
    for i in range(sections.count()):
        assert sections.nth(i).locator('h1, h2').count() == 1
        assert len(sections.nth(i).locator('aside').text_content()) > 40
    for alt in page.locator('.slides img').evaluate_all('all => all.map(i => i.alt)'):
        assert len(alt) > 15
    loaded = page.locator('.slides img').evaluate_all('all => all.map(i => i.naturalWidth)')
    assert 0 not in loaded


@pytest.mark.slow
def test_the_keyboard_turns_pages_and_shows_the_notes(show):
    page, _ = show(deck(PATHS[0]))
    page.keyboard.press('ArrowRight')
    assert page.evaluate('Reveal.getState().indexh') == 1
    told = page.locator('.told')
    assert told.is_hidden()
    page.keyboard.press('n')
    told.wait_for()
    assert 'discriminate' not in told.text_content()
    assert 'many numbers in, few out' in told.text_content()
    page.keyboard.press('ArrowRight')
    assert 'Ask for more examples' in told.text_content()


@pytest.mark.slow
def test_each_fault_of_a_deck_is_seen(show, tmp_path):
    def seen(source, script):
        file = tmp_path / '00_opening.md'
        file.write_text(f'# T\n\n{source}\n\nNotes:\n- n\n', encoding='utf-8')
        page, asked = show(deck(file))
        return page.evaluate(script) if script else asked

    assert seen('fine', TOO_LARGE) == seen('fine', FAINT) == seen('$x$', UNREAD) == []
    assert seen('a line\n\n' * 40, TOO_LARGE)
    assert seen('<pre>' + 'wide ' * 80 + '</pre>', TOO_LARGE)
    assert seen(r'$\frac{1$', UNREAD)
    assert seen('price: 5 $', UNREAD)
    assert seen('<span style="color: #bbb">faint</span>', FAINT)
    assert seen('<img alt="far away, elsewhere" src="http://localhost:9/x.png">', None)


# The exporter


def test_lines_of_a_cell_and_its_outputs():
    chapter = Chapter('01_basic_gan')
    assert some('a\nb\nc\nd', '2-3') == 'b\nc'
    code = re.sub('<[^>]+>', '', chapter.code('update-D', '2-2'))
    assert code.startswith('def update_D(X, Z, net_D')
    assert code.count('\n') == 0
    assert 'label real' in chapter.text('fresh')
    assert chapter.output('best-D', '300').count('<img') == 1
    assert 'height: 300px' in chapter.output('best-D', '300')
    assert 'the cost over the answer d' in chapter.output('best-D')


def test_notes_and_columns():
    made = slide(Chapter('none'), '## Title\n\nleft\n\n|||\nright\n\nNotes:\n- say *this*\n')
    assert re.search(r'<h2.*Title.*</h2>', made)
    assert made.count('<div>') == 2
    assert re.search(r'<aside class="notes">.*<em>this</em>.*</aside></section>$', made, re.S)


@pytest.mark.parametrize(('line', 'reason'), (
    ('{code bestD}', "01_basic_gan: no code cell is called 'bestD'"),
    ('{output nets}', "no code cell is called 'nets'"),
    ('{output closed-form}', "the cell 'closed-form' has no picture stored; make store"),
    ('{text update-D}', "the cell 'update-D' has no text stored"),
    ('{picture x}', r'\{picture ...\}: code, output, text or figure'),
    ('{figure gan.svg 300}', 'a picture without alt text'),
))  # fmt: skip
def test_a_line_that_brings_nothing_is_an_error_that_names_it(line, reason):
    with pytest.raises(ValueError, match=reason):
        slides.filled(Chapter('01_basic_gan'), f'# T\n\n{line}\n')


@pytest.mark.parametrize('path', [p for p in PATHS if p.stem != '00_opening'], ids=lambda p: p.stem)
def test_the_notebook_to_present_is_the_chapter_with_the_decks_words(path):
    show = slides.live(path)
    chapter = list(Chapter(path.stem).cells.values())
    told = {cell.id: cell.metadata.get('slideshow', {}).get('slide_type') for cell in show.cells}
    kept = [cell for cell in show.cells if not cell.id.startswith(('slide-', 'notes-'))]
    assert [(c.id, c.source) for c in kept] == [(c.id, c.source) for c in chapter]
    count = len(slides.slides_of(path))
    assert list(told.values()).count('slide') == list(told.values()).count('notes') == count
    words = [cell.source for cell in show.cells if told[cell.id] == 'slide']
    assert not [text for text in words if re.search(r'(?m)^(\{|\|\|\|)', text)]
    named = set(re.findall(r'(?m)^\{(?:code|output|text) ([^ }]+)', path.read_text('utf-8')))
    parts = {cell.id for cell in kept if told[cell.id] != 'skip'}
    assert parts <= named
    quoted = '\n'.join(words)
    for cell_id in named - parts:  # of an earlier place in the chapter: its text is quoted
        cell = Chapter(path.stem).cells[cell_id]
        assert cell.source in quoted or cell.outputs[0]['text'].strip() in quoted
    for picture in re.findall(r'(?m)^!\[.+\]\((.+)\)$', quoted):
        assert (slides.NOTEBOOKS / picture).exists()
