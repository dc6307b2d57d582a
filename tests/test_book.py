"""The book, as `make book` leaves it: read from its folder, offline, in a real browser."""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import pytest

import d2l_gan
from d2l_gan.diagnosis import ADVICE

ROOT = Path(__file__).parents[1]
BOOK = ROOT / '_build' / 'book'
CHAPTERS = sorted(path.stem for path in (ROOT / 'notebooks').glob('*.ipynb'))
PHONE, LAPTOP = {'width': 390, 'height': 844}, {'width': 1280, 'height': 800}
RULES = 'color-contrast', 'image-alt', 'link-name', 'button-name', 'label', 'duplicate-id-aria'
LOOK = """() => {
    const text = (document.querySelector('article') || document.body).cloneNode(true);
    text.querySelectorAll('pre, code, script, .katex').forEach(e => e.remove());
    const all = (css, what) => [...document.querySelectorAll(css)].map(what);
    return {
        ids: all('[id], [name]', e => e.id || e.getAttribute('name')),
        links: all('a[href]', e => e.href),
        pictures: all('article img', e => [
            e.alt, e.src, e.complete && e.naturalWidth > 0,
            e.clientWidth / e.clientHeight * e.naturalHeight / e.naturalWidth]),
        formulas: all('.math', e => e.querySelectorAll('.katex').length),
        cut: all('.katex-html', e => e.getBoundingClientRect().left).filter(x => x < 0),
        mistakes: all('.katex-error', e => e.title),
        raw: text.textContent.match(/\\$\\S[^$]*\\S\\$/g) || [],
        width: document.documentElement.scrollWidth,
    };
}"""


@pytest.fixture(scope='module')
def book():
    """The folder of the book, built as a reader builds it."""
    pytest.importorskip('myst_nb')
    if not shutil.which('make'):
        pytest.skip('no make here')
    command = ['make', '-o', 'setup', 'book', f'BIN={Path(sys.executable).parent}']
    env, begin = os.environ | {'REPOSITORY': ''}, time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 60
    return BOOK


@pytest.fixture
def page(chromium):
    """A page without a network; what it asked for is in `page.asked`."""
    context = chromium.new_context(viewport=PHONE, offline=True)
    page = context.new_page()
    page.asked = []
    page.on('request', lambda request: page.asked.append(request.url))
    yield page
    context.close()


def pages(book):
    """All pages that a reader is led to."""
    return [p for p in sorted(book.rglob('*.html')) if not {'_static', 'slides'} & {*p.parts}]


@pytest.mark.slow
def test_every_page_is_whole_on_a_phone_without_a_network(book, page):
    seen = {}
    for path in pages(book):
        page.goto(path.as_uri())
        if path == book / 'index.html':
            page.wait_for_url('**/docs/index.html')
            continue
        seen[path] = page.evaluate(LOOK)
    outside = {url for url in page.asked if not url.startswith((book.as_uri(), 'data:'))}
    assert not outside
    for path, found in seen.items():
        name = path.relative_to(book).as_posix()
        assert found['width'] <= PHONE['width'], name
        assert found['mistakes'] == found['cut'] == found['raw'] == [], name
        assert 0 not in found['formulas'], name
        alts = [alt for alt, source, *_ in found['pictures']]
        assert len(alts) == len(set(alts)), (name, alts)
        for alt, source, is_there, stretched in found['pictures']:
            assert len(alt) > 15, (name, source)
            assert is_there, (name, source)
            if 'film' not in source:  # which a phone shows in part
                assert stretched == pytest.approx(1, abs=0.03), (name, source)
        for link in found['links']:
            address = urlparse(link)
            if address.scheme != 'file':
                continue
            target = Path(unquote(address.path))
            assert target.is_file() and book in target.parents, (name, link)
            if address.fragment and target in seen:
                assert unquote(address.fragment) in seen[target]['ids'], (name, link)
    formulas = sum(len(found['formulas']) for found in seen.values())
    assert formulas > 300, formulas


@pytest.mark.slow
def test_the_formulas_script_fits_its_style_sheet(book, page):
    page.goto((book / 'notebooks' / '01_basic_gan.html').as_uri())
    page.evaluate("document.body.insertAdjacentHTML('beforeend', KATEX)".replace('KATEX', repr(
        '<span class="katex"><span class="katex-version"></span></span>')))  # fmt: skip
    of_style = "getComputedStyle(document.querySelector('.katex-version'), '::after').content"
    assert page.evaluate(of_style).strip('"') == page.evaluate('katex.version')


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_all_can_be_read(book, chromium, scheme):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    page = chromium.new_page(
        viewport=LAPTOP, offline=True, color_scheme=scheme, reduced_motion='reduce'
    )
    # A page of each kind will do in the dark; the solutions' are made as the exercises'.
    names = ('docs/index', 'docs/reference', 'TEACHING', 'notebooks/02_dcgan')
    kinds = [book / f'{name}.html' for name in names]
    seen = [p for p in pages(book) if p != book / 'index.html' and 'solutions' not in p.parts]
    for path in kinds if scheme == 'dark' else seen:
        page.goto(path.as_uri())
        assert page.evaluate('document.documentElement.dataset.theme') == scheme
        found = axe.run(page, options={'runOnly': list(RULES)}).response
        assert found['violations'] == [], (path.name, found['violations'])
        assert 'color-contrast' in [rule['id'] for rule in found['passes']], path.name
    assert set(kinds) <= set(seen)
    page.close()


@pytest.mark.slow
def test_the_recorded_game_moves_by_slider_and_by_play(book, page):
    page.goto((book / 'docs' / 'index.html').as_uri())
    film = page.locator('.film')
    slider, words, picture = film.locator('input'), film.locator('figcaption'), film.locator('img')
    last = int(slider.get_attribute('max'))
    moments = json.loads(film.locator('script').text_content())
    assert len(moments) == last + 1 == len(list((ROOT / 'docs' / 'static' / 'film').iterdir()))
    assert words.text_content() == moments[int(slider.input_value())]
    assert 'samples collapsed' in words.text_content()
    slider.fill('8')
    assert words.text_content() == moments[8]
    assert 'samples collapsed' in moments[8]
    assert 'near equilibrium' in moments[-1]
    assert all(any(f'“{verdict}”' in m for verdict in ADVICE) for m in moments)
    assert picture.get_attribute('src').endswith('film/08.webp')
    assert moments[8] in picture.get_attribute('alt')
    slider.press('ArrowRight')
    assert words.text_content() == moments[9]
    slider.fill(str(last - 1))
    film.locator('button').click()
    page.wait_for_function(f"document.querySelector('.film input').value == {last}")
    page.wait_for_function("document.querySelector('.film button').textContent == 'play'")
    wide = picture.evaluate('e => [e.complete, e.naturalWidth, e.clientWidth, e.clientHeight]')
    assert wide[:2] == [True, 800]
    assert wide[2] == wide[3] > 300  # on a phone the plane alone


@pytest.mark.slow
def test_the_search_finds_a_function_without_a_network(book, page):
    page.goto((book / 'search.html').as_uri() + '?q=update_D')
    first = page.locator('#search-results li a').first
    first.wait_for()
    hits = page.locator('#search-results li a').evaluate_all('all => all.map(a => a.href)')
    assert any('reference.html#d2l_gan.steps.update_D' in hit for hit in hits)


@pytest.mark.slow
def test_a_print_shows_the_text_and_no_controls(book, page):
    page.set_viewport_size(LAPTOP)
    page.goto((book / 'notebooks' / '01_basic_gan.html').as_uri())
    controls = (
        '.bd-header-article',
        '.bd-sidebar-primary',
        '.bd-sidebar-secondary',
        '.prev-next-footer',
    )
    shown = [page.locator(css).first for css in controls]
    assert all(part.is_visible() for part in shown)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media='print')
    assert not any(part.is_visible() for part in shown)
    page.wait_for_function("document.documentElement.dataset.theme == 'light'")
    cut = 'all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)'
    assert page.locator('pre').evaluate_all(cut) == []
    page.emulate_media(media='screen')
    page.wait_for_function("document.documentElement.dataset.theme == 'dark'")
    assert page.pdf(format='A4').count(b'/Type /Page\n') > 10


@pytest.mark.slow
def test_the_chapters_are_small(book):
    size = 0
    for stem in CHAPTERS:
        path = book / 'notebooks' / f'{stem}.html'
        text = path.read_text(encoding='utf-8')
        pictures = set(re.findall(r'src="\.\./(_images/[^"]+)"', text))
        assert pictures
        size += len(text.encode()) + sum((book / name).stat().st_size for name in pictures)
    assert size < 8_000_000, size


@pytest.mark.slow
def test_buttons_that_launch_need_one_address_and_are_not_drawn_without(book, tmp_path):
    name = 'notebooks/01_basic_gan'
    assert 'mybinder' not in (book / f'{name}.html').read_text(encoding='utf-8')
    env = os.environ | {
        'REPOSITORY': 'https://github.com/someone/course',
        'HUB': 'https://hub.school',
    }
    command = [sys.executable, '-m', 'sphinx', '-q', '-c', 'docs', '-D', 'root_doc=' + name]
    command += ['-D', f'include_patterns={name}.ipynb', '.', tmp_path]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)
    html = (tmp_path / f'{name}.html').read_text(encoding='utf-8')
    links = set(re.findall(r'href="(https://(?:colab|mybinder|hub)[^"]*)"', html))
    colab, hub, binder = sorted(links, key=lambda link: urlparse(link).netloc)
    at = f'{name}.ipynb'
    assert colab == f'https://colab.research.google.com/github/someone/course/blob/main/{at}'
    assert binder == f'https://mybinder.org/v2/gh/someone/course/main?urlpath=lab/tree/{at}'
    asked = parse_qs(urlparse(hub.replace('&amp;', '&')).query)
    assert hub.startswith('https://hub.school/hub/user-redirect/git-pull?')
    assert asked['repo'] == ['https://github.com/someone/course']
    assert asked['branch'] == ['main']
    assert asked['urlpath'] == [f'lab/tree/course/{at}']


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(book):
    html = (book / 'docs' / 'reference.html').read_text(encoding='utf-8')
    ids = set(re.findall(r'id="(d2l_gan[\w.]*)"', html))
    told = {name.rpartition('.')[2] for name in ids}
    handed_on = {name for name, value in vars(d2l_gan).items() if not inspect.ismodule(value)}
    handed_on |= d2l_gan.WIDGETS | d2l_gan.CLASSROOM
    others = {'Any', 'CLASSROOM', 'WIDGETS'}
    assert {name for name in handed_on - others if name[0] != '_'} <= told
    reference = (ROOT / 'docs' / 'reference.rst').read_text(encoding='utf-8')
    modules = re.findall(r'automodule:: (\S+)', reference)
    for module in map(importlib.import_module, modules):
        for name, value in vars(module).items():
            if name[0] != '_' and getattr(value, '__module__', '') == module.__name__:
                assert f'{module.__name__}.{name}' in ids
    # numpydoc's sections were read as such
    assert ':raises' not in html
    assert html.count('Raises') >= 10
    assert not re.search(r'&gt;&gt;&gt;[^<]*</(?:strong|em)>', html)
