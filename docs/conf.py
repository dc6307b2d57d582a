"""The book: `make book` builds it from the stored notebooks; nothing is executed."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
# Where the course lives decides every address of a launch button; without it there are none.
REPOSITORY = os.environ.get('REPOSITORY', PROJECT.get('urls', {}).get('Repository', ''))

project = 'GANs, run and measured'
author = 'the authors of d2l-gan'
copyright = 'the authors of d2l-gan. Text: CC BY-SA 4.0, code: MIT'
release = PROJECT['version']

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinxcontrib.katex']
root_doc = 'docs/index'
include_patterns = [
    'docs/*.md', 'notebooks/*.ipynb', 'notebooks/exercises/*.ipynb', 'notebooks/solutions/*.ipynb',
    'TEACHING.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'tools/README.md',
]  # fmt: skip
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 3
nb_execution_mode = 'off'
# A widget is dead on a page: the picture or the text that is stored beside it stands in.
nb_mime_priority_overrides = [('html', 'application/vnd.jupyter.widget-view+json', None)]

# KaTeX lies beside the slides, so that the book needs no network.
html_static_path = ['static', '../tools/reveal']
katex_css_path = 'katex.min.css'
katex_js_path = 'katex.min.js'
katex_autorender_path = 'auto-render.min.js'

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'

html_theme = 'sphinx_book_theme'
html_title = project
html_theme_options = {'use_download_button': True, 'use_fullscreen_button': False}
if REPOSITORY:
    html_theme_options |= {
        'repository_url': REPOSITORY,
        'path_to_docs': '.',
        'repository_branch': 'main',
        'use_repository_button': True,
        'launch_buttons': {
            'colab_url': 'https://colab.research.google.com',
            'binderhub_url': 'https://mybinder.org',
            'notebook_interface': 'jupyterlab',
        },
    }
