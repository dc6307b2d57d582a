"""A real JupyterLab on loopback, and a page of a real browser on it: for the browser tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

NAMES = (
    'chromium',
    'chromium-browser',
    'google-chrome',
    'google-chrome-stable',
    'chrome',
    'msedge',
)
ARGUMENTS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--disable-dev-shm-usage',
]  # fmt: skip
TOKEN = 'only-for-this-test'

READY = """async () => {
    const sleep = ms => new Promise(done => setTimeout(done, ms));
    while (!window.jupyterapp) await sleep(50);
    await jupyterapp.restored;
    let panel;
    while (!(panel = jupyterapp.shell.currentWidget)?.context) await sleep(50);
    await panel.context.ready;
    await panel.sessionContext.ready;
    while (!panel.sessionContext.session?.kernel) await sleep(50);
    await panel.sessionContext.session.kernel.info;
    window.panel = panel;
}"""
RUN_ALL = "async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }"
COMMAND = """async ([command, cell]) => {
    panel.content.activeCellIndex = cell;
    await jupyterapp.commands.execute(command);
}"""
ASK = """async code => {
    const future = panel.sessionContext.session.kernel.requestExecute(
        {code: '', silent: true, store_history: false, user_expressions: {answer: code}});
    const {answer} = (await future.done).content.user_expressions;
    return answer.status === 'ok' ? answer.data['text/plain'] : `${answer.ename}: ${answer.evalue}`;
}"""
ERRORS = """() => panel.content.widgets.flatMap(cell =>
    cell.model.type !== 'code' ? [] : cell.model.outputs.toJSON().filter(
        output => output.output_type === 'error').map(output => output.evalue))"""
COUNTS = """() => panel.content.widgets.filter(cell => cell.model.type === 'code').map(
    cell => cell.model.executionCount)"""


def found() -> str | None:
    """The path of a browser that Playwright can drive, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def jupyter_lab(folder: Path, private: Path):
    """A server for the notebooks in `folder`, its settings in `private`; yields its address."""
    news = private / 's' / '@jupyterlab' / 'apputils-extension'
    news.mkdir(parents=True)
    (news / 'notification.jupyterlab-settings').write_text('{"fetchNews": "false"}')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    env = os.environ | {
        f'JUPYTER_{name}_DIR': str(private / name) for name in ('CONFIG', 'DATA', 'RUNTIME')
    }
    env |= {'IPYTHONDIR': str(private / 'ipython'), 'JUPYTERLAB_SETTINGS_DIR': str(private / 's')}
    env |= {'JUPYTERLAB_WORKSPACES_DIR': str(private / 'w')}
    command = [
        sys.executable, '-m', 'jupyterlab', '--no-browser', f'--ServerApp.port={port}',
        f'--ServerApp.root_dir={folder}', f'--IdentityProvider.token={TOKEN}', '--allow-root',
        '--LabApp.expose_app_in_browser=True', '--LabApp.news_url=', '--ServerApp.ip=127.0.0.1',
        '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate',
    ]  # fmt: skip
    with (private / 'server.log').open('wb') as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    address = f'http://127.0.0.1:{port}'
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f'{address}/api/status?token={TOKEN}', timeout=2)
                break
            except OSError:
                assert server.poll() is None, (private / 'server.log').read_text()
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


class Notebook:
    """A notebook open in JupyterLab, in a page of the browser."""

    def __init__(self, page, address: str, name: str):
        self.page = page
        page.goto(f'{address}/doc/tree/{name}?token={TOKEN}&reset', timeout=60_000)
        page.evaluate(READY)

    def run_all(self) -> None:
        """Run every cell; fail with what a cell raised."""
        self.page.evaluate(RUN_ALL)
        errors = self.page.evaluate(ERRORS)
        assert errors == [], errors

    def command(self, command: str, cell: int) -> None:
        """Do what JupyterLab calls `command` with the cell of this index."""
        self.page.evaluate(COMMAND, [command, cell])

    def counts(self) -> list[int]:
        """The execution counts of the code cells."""
        return self.page.evaluate(COUNTS)

    def ask(self, expression: str):
        """The value of a Python expression in the kernel, if it is plain data."""
        answer = self.page.evaluate(ASK, f'__import__("json").dumps({expression})')
        return json.loads(eval(answer)) if answer[0] in '\'"' else answer

    def wait_for(self, expression: str, seconds: float = 10):
        """Wait until the expression is true in the kernel, and return its value."""
        end = time.monotonic() + seconds
        while True:
            value = self.ask(expression)
            if value is not None and value is not False and not isinstance(value, str):
                return value
            assert time.monotonic() < end, f'{expression} is {value}'
            time.sleep(0.05)
