"""The book: `make book` builds it from the stored notebooks; nothing is executed."""

import inspect
import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx import addnodes
from sphinx.util.inspect import stringify_signature

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
# Where the course lives decides every address of a launch button; without it there are none.
REPOSITORY = os.environ.get('REPOSITORY', PROJECT.get('urls', {}).get('Repository', ''))
HUB = os.environ.get('HUB', '')  # a school's own JupyterHub

project = 'GANs, run and measured'
author = 'the authors of d2l-gan'
copyright = 'the authors of d2l-gan. Text: CC BY-SA 4.0, code: MIT'
release = PROJECT['version']

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinxcontrib.katex']
root_doc = 'docs/index'
include_patterns = [
    'docs/*', 'notebooks/*.ipynb', 'notebooks/exercises/*.ipynb', 'notebooks/solutions/*.ipynb',
    'TEACHING.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'tools/README.md',
]  # fmt: skip
exclude_patterns = ['.*', '_build']
myst_enable_extensions = ['amsmath', 'dollarmath']
myst_heading_anchors = 3
nb_execution_mode = 'off'
# A widget is dead on a page: the picture or the text that is stored beside it stands in.
nb_mime_priority_overrides = [('html', 'application/vnd.jupyter.widget-view+json', None)]

# KaTeX lies beside the slides, so that the book needs no network.
html_static_path = ['static']
katex_css_path = 'katex.min.css'
katex_js_path = 'katex.min.js'
katex_autorender_path = 'auto-render.min.js'

default_role = 'code'  # in a docstring
autodoc_default_options = {'members': True}
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints = 'description'
napoleon_google_docstring = False

html_theme = 'sphinx_book_theme'
html_title = project
html_css_files = ['book.css']
html_js_files = [('print.js', {'defer': 'defer'}), ('film.js', {'defer': 'defer'})]
html_extra_path = ['front']  # the way in, since the opening page lies in docs/
html_domain_indices = html_use_index = False  # the reference is one page, and the search finds
html_theme_options = {'navbar_persistent': [], 'use_fullscreen_button': False}
if REPOSITORY:
    buttons = {'colab_url': 'https://colab.research.google.com'}
    buttons |= {'binderhub_url': 'https://mybinder.org', 'notebook_interface': 'jupyterlab'}
    html_theme_options |= {
        'repository_url': REPOSITORY,
        'repository_branch': 'main',
        'use_repository_button': True,
        'launch_buttons': buttons | ({'jupyterhub_url': HUB} if HUB else {}),
    }


def shown_width(node, path):
    """A picture's width in pixels as stored beside it, or else its own; 0 where it has none."""
    stored = node.get('width', '').removesuffix('px')
    if stored.isdigit():
        return int(stored)
    if path.suffix != '.png' or not path.exists():
        return 0
    with Image.open(path) as picture:
        return picture.width


def describe_pictures(app, doctree):
    """Give each picture the words of the line `*Figure: ...*` above its cell; mark the wide."""
    words = ''
    for node in doctree.findall(lambda n: isinstance(n, nodes.emphasis | nodes.image)):
        if isinstance(node, nodes.image):
            node.setdefault('alt', words)
            words = ''
            if shown_width(node, Path(app.srcdir, node['uri'])) > 640:
                node['classes'].append('wide')
        elif match := re.match('Figure: (.*)', node.astext(), re.S):
            words = match[1]


def wrap_sentences(app, doctree):
    """Mark the outputs that are no tables: on a phone their lines may be broken."""
    for cell in doctree.findall(nodes.container):
        for node in cell.findall(nodes.literal_block) if 'cell_output' in cell['classes'] else ():
            if not re.search(r'\S {2,}\S', node.astext()):
                node['classes'].append('sentences')


def part_types_from_words(app, what, name, obj, options, lines):
    """Make of `name : type, words` what numpydoc wants: the words on a line of their own."""
    told = []
    for line, after in pairwise([*lines, '']):
        match = re.fullmatch(r'([*\w][*\w, ]*) : ((?:[^,;()]|\([^()]*\))+)[,;] (.+)', line)
        if match:
            stop = '.' if after.strip()[:1].isupper() and after[0] == ' ' else ''
            told += [f'{match[1]} : {match[2]}', f'    {match[3]}{stop}']
        else:
            told.append(line)
    lines[:] = told


def leave_values_out(app, doctree):
    """Show what a constant is for, not the whole of it."""
    for node in list(doctree.findall(addnodes.desc_annotation)):
        if node.astext().strip().startswith('='):
            node.parent.remove(node)


def show_parameters(app, what, name, obj, options, signature, returned):
    """Show what a class takes, where a base class hides it."""
    if what != 'class' or signature != '(*args, **kwargs)':
        return None
    if '__init__' not in vars(obj):
        return '()', None
    own = inspect.signature(obj.__init__)
    taken = [p for p in own.parameters.values() if p.name != 'self']
    return stringify_signature(own.replace(parameters=taken), show_annotation=False), None


def take_own_katex(app):
    """Take KaTeX's script from where its style sheet is, not the extension's other version."""
    app.config.html_static_path.append('../tools/reveal')


def setup(app):
    """Connect what this file adds to Sphinx."""
    before_napoleon, after_katex = 400, 900  # theirs is 500
    app.connect('autodoc-process-docstring', part_types_from_words, priority=before_napoleon)
    app.connect('autodoc-process-signature', show_parameters)
    app.connect('builder-inited', take_own_katex, priority=after_katex)
    app.connect('doctree-read', describe_pictures)
    app.connect('doctree-read', leave_values_out)
    app.connect('doctree-read', wrap_sentences)
