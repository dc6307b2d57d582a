"""The book: `make book` builds it from the stored notebooks; nothing is executed."""

import os
import re
import tomllib
from pathlib import Path

from docutils import nodes

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
autodoc_default_options = {'members': True, 'no-value': None}
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
napoleon_google_docstring = False

html_theme = 'sphinx_book_theme'
html_title = project
html_css_files = ['book.css']
html_js_files = [('film.js', {'defer': 'defer'})]
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


def describe_pictures(app, doctree):
    """Give each stored picture the words of the line `*Figure: ...*` above its cell."""
    words = ''
    for node in doctree.findall(lambda n: isinstance(n, nodes.emphasis | nodes.image)):
        if isinstance(node, nodes.image):
            node.setdefault('alt', words)
        elif match := re.match('Figure: (.*)', node.astext(), re.S):
            words = match[1]


def take_own_katex(app):
    """Take KaTeX's script from where its style sheet is, not the extension's other version."""
    app.config.html_static_path.append('../tools/reveal')


def setup(app):
    """Connect what this file adds to Sphinx."""
    app.connect('builder-inited', take_own_katex, priority=900)
    app.connect('doctree-read', describe_pictures)
