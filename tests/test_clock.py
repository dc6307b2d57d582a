"""The lab's clock in the kernel, where the page has none: with ipywidgets 7.7.1, as on Colab."""

import asyncio
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import ipywidgets as widgets
import pytest
from jupyter_client.manager import start_new_kernel

from d2l_gan.lab import clock as module

pytestmark = pytest.mark.slow  # they listen to a real clock
ROOT = Path(__file__).parents[1]
LAB = """
import torch, ipywidgets
import d2l_gan as d2l
from torch import nn
net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
lab = d2l.GANLab(net_D, nn.Linear(2, 2), torch.randn(100, 2))
lab"""


def test_it_ticks_while_it_plays_and_leaves_the_loop_to_others():
    async def play():
        clock, others = module.KernelClock(), 0
        clock.playing = True
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            others += 1
            await asyncio.sleep(0.01)
        ticks, clock.playing = clock.value, False
        await asyncio.sleep(0.2)
        assert clock.value == ticks, 'a pause holds'
        for _ in range(5):  # impatient clicks start no second row of ticks
            clock.playing = not clock.playing
        await asyncio.sleep(0.3)
        return ticks, others, clock.value - ticks

    ticks, others, more = asyncio.run(play())
    assert 5 <= ticks <= 0.5 / module.INTERVAL + 1
    assert others > 10
    assert 2 <= more <= 0.3 / module.INTERVAL + 2


def test_outside_a_kernel_it_stands_still():
    clock = module.KernelClock()
    clock.playing = True
    assert clock.value == 0


def test_the_page_has_the_clock_where_it_can_and_colab_never(monkeypatch):
    modern = 'playing' in widgets.Play.class_traits()
    assert isinstance(module.make_clock(widgets.ToggleButton()), module.KernelClock) != modern
    monkeypatch.setitem(sys.modules, 'google.colab', object())
    button = widgets.ToggleButton()
    clock = module.make_clock(button)
    assert isinstance(clock, module.KernelClock)
    button.value = True
    assert clock.playing
    clock.playing = False
    assert not button.value


@pytest.fixture(scope='module')
def oldest_widgets(tmp_path_factory):
    """A folder with the oldest ipywidgets that the project allows."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    (version,) = re.findall(r'ipywidgets>=([\d.]+)', ' '.join(project['dependencies']))
    folder = tmp_path_factory.mktemp('widgets')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder]
    command += [f'ipywidgets=={version}', 'ipython_genutils']  # which 7.7.1 still imports
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'ipywidgets {version} cannot be had here: {done.stderr[-200:]}')
    return folder, version


class Kernel:
    """A real kernel, and what a page does with it."""

    def __init__(self, client):
        self.client = client

    def run(self, code, **asked):
        """Run a cell; return its outputs, and the values of the expressions `asked` for."""
        outputs = []
        reply = self.client.execute_interactive(
            code, timeout=60, user_expressions=asked, output_hook=outputs.append
        )['content']
        assert reply['status'] == 'ok', '\n'.join(reply['traceback'])
        answers = reply['user_expressions']
        return outputs, {name: eval(answers[name]['data']['text/plain']) for name in asked}

    def show(self, code, **asked):
        """Run a cell that shows one widget and says nothing; return what it shows, and answers."""
        outputs, answers = self.run(code, **asked)
        (shown,) = (o for o in outputs if o['msg_type'] in ('execute_result', 'display_data'))
        assert not [o for o in outputs if o['msg_type'] in ('stream', 'error')], 'a warning'
        return shown['content']['data'], answers

    def ask(self, expression):
        return self.run('', answer=expression)[1]['answer']

    def press(self, button, down):
        """Send what the page sends when a toggle button is pressed."""
        comm = self.ask(f"lab.controls['{button}'].model_id")
        update = {'method': 'update', 'state': {'value': down}, 'buffer_paths': []}
        message = self.client.session.msg('comm_msg', {'comm_id': comm, 'data': update})
        self.client.shell_channel.send(message)


@pytest.fixture(scope='module')
def kernel(oldest_widgets):
    folder, _ = oldest_widgets
    path = os.pathsep.join([str(folder), str(ROOT)])
    env = os.environ | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    manager, client = start_new_kernel(kernel_name='python3', env=env)
    yield Kernel(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_lab_plays_pauses_and_lets_other_cells_run_with_the_oldest_ipywidgets(
    kernel, oldest_widgets
):
    shown, seen = kernel.show(
        LAB, version='ipywidgets.__version__', clock='type(lab.clock).__name__'
    )
    assert seen == {'version': oldest_widgets[1], 'clock': 'KernelClock'}
    assert shown['application/vnd.jupyter.widget-view+json']['version_major'] == 2
    assert shown['image/png']

    kernel.press('play', True)
    end = time.monotonic() + 20
    while kernel.ask('lab.steps') < 30:
        assert time.monotonic() < end
        time.sleep(0.05)
    outputs, _ = kernel.run('print(6 * 7)')
    assert [o['content']['text'] for o in outputs if o['msg_type'] == 'stream'] == ['42\n']
    before = kernel.ask('lab.steps')
    time.sleep(0.3)
    assert kernel.ask('lab.steps') > before, 'it plays on'

    kernel.press('play', False)
    time.sleep(0.3)
    paused = kernel.ask('lab.steps')
    time.sleep(0.5)
    assert kernel.ask('lab.steps') == paused
    kernel.run('lab.play()')  # and from code
    time.sleep(0.5)
    assert kernel.ask('lab.steps') > paused
    kernel.run('lab.pause()')
    assert kernel.ask('lab.error.value') == ''


@pytest.mark.parametrize(
    'made',
    [
        'd2l.ShapeLab()',
        'd2l.LeakyReLULab()',
        'd2l.TimeMachine([torch.zeros(8, 3, 64, 64)] * 3)',
    ],
)
def test_every_widget_shows_itself_with_the_oldest_ipywidgets(kernel, made):
    shown, seen = kernel.show(
        f'import torch\nimport d2l_gan as d2l\nlab = {made}\nlab', text='lab.text.value'
    )
    assert {'image/png', 'application/vnd.jupyter.widget-view+json'} <= set(shown)
    assert 'role="alert"' not in seen['text']
