"""Execute the course's notebooks in clean kernels: `make run` and `make store`.

Each cell gets a progress line, each notebook one with its time and the memory that it took at most.
`--to FOLDER` leaves the executed notebook and an HTML page there, `--store` writes the outputs back
into the notebooks themselves. Where a claim comes out False, nothing is left or stored.
"""

import argparse
import os
import threading
import time
from base64 import b64decode
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbconvert import HTMLExporter

NOTEBOOKS = Path(__file__).parents[1] / 'notebooks'
RESULTS = {'01_basic_gan': 'result', '02_dcgan': 'patience-pictures'}  # in the README


@contextmanager
def watched():
    """How much memory all processes below this one take together, each second: a list, in GB."""
    taken, over = [], threading.Event()

    def watch():
        while not over.wait(1):
            size = 0
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):  # it has just ended
                    info = process.memory_full_info()
                    size += getattr(info, 'pss', info.rss)  # what is shared counts once
            taken.append(size / 1e9)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def execute(path: Path) -> nbformat.NotebookNode:
    """Run the notebook from top to bottom in a new kernel; return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code' and cell.source.strip()]
    start = cell_start = time.perf_counter()
    done = 0

    def begin(cell, cell_index):
        nonlocal cell_start
        cell_start = time.perf_counter()

    def report(cell, cell_index, execute_reply):
        nonlocal done
        done += 1
        seconds = time.perf_counter() - cell_start
        print(f'{path.name}  {done:3d}/{len(code)}  {seconds:6.1f} s  {cell.id}', flush=True)

    client = NotebookClient(
        notebook,
        timeout=None,
        store_widget_state=False,  # every widget has a picture or a text to stand in for it
        resources={'metadata': {'path': str(path.parent)}},
        on_cell_execute=begin,
        on_cell_executed=report,
    )
    with watched() as taken:
        client.execute()
    seconds = time.perf_counter() - start
    most = max(taken, default=0)
    print(f'{path.name}  done in {seconds:.1f} s, at most {most:.1f} GB of memory', flush=True)
    said = [output.get('text', '') for cell in code for output in cell.outputs]
    if wrong := [line for line in '\n'.join(said).splitlines() if line.endswith(': False')]:
        raise SystemExit(f'{path.name}: a claim does not hold. {"; ".join(wrong)}')
    return tidy(notebook)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from machine to machine, and widgets' inner state."""
    notebook.metadata.pop('widgets', None)
    notebook.metadata.language_info = {'name': 'python'}
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)
    return notebook


def save_result(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Save the picture of the chapter's result, for the README."""
    (cell,) = (cell for cell in notebook.cells if cell.id == RESULTS[path.stem])
    picture = next(o.data['image/png'] for o in cell.outputs if 'image/png' in o.get('data', {}))
    path.write_bytes(b64decode(picture))


def main() -> None:
    """Parse the command line, execute, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'notebooks', nargs='*', type=Path, default=sorted(NOTEBOOKS.glob('*.ipynb'))
    )
    parser.add_argument('--to', type=Path, metavar='FOLDER')
    parser.add_argument('--store', action='store_true')
    args = parser.parse_args()
    os.environ['TQDM_DISABLE'] = '1'  # a stored page has no use for a bar that stands still
    for path in args.notebooks:
        notebook = execute(path)
        if args.store:
            nbformat.write(notebook, path)
            if path.stem in RESULTS:
                save_result(notebook, path.parent / 'img' / f'{path.stem}.png')
        if args.to:
            args.to.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, args.to / path.name)
            exporter = HTMLExporter(embed_images=True)
            html, _ = exporter.from_notebook_node(
                notebook, resources={'metadata': {'name': path.stem, 'path': str(path.parent)}}
            )
            (args.to / path.with_suffix('.html').name).write_text(html, encoding='utf-8')
            print(f'wrote {args.to / path.name} and {path.with_suffix(".html").name}')


if __name__ == '__main__':
    main()
