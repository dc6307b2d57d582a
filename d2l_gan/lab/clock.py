"""What drives the lab while it plays: a clock in the page, or in the kernel where it has none."""

import asyncio
import sys

import ipywidgets as widgets
import traitlets

INTERVAL = 0.04  # seconds between two ticks


class KernelClock(traitlets.HasTraits):
    """Counts `value` up while it is `playing`, in the kernel's event loop (without one, it stands).

    Between two ticks the kernel is free: a pause and other cells get their turn.
    """

    playing = traitlets.Bool(False)
    value = traitlets.Int(0)

    def __init__(self) -> None:
        super().__init__()
        self._is_ticking = False
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    @traitlets.observe('playing')
    def _start(self, change: dict) -> None:
        if change['new'] and self._loop is not None and not self._is_ticking:
            self._is_ticking = True
            self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        self._is_ticking = self.playing
        if self.playing and self._loop is not None:
            self.value += 1
            self._loop.call_later(INTERVAL, self._tick)


def make_clock(play: widgets.ToggleButton) -> widgets.Play | KernelClock:
    """A clock that ticks while the button `play` is down, linked to it both ways.

    One in the page stands still when no page shows the lab, and a pause does not wait for the
    kernel. It takes a `Play` that can be told to play (ipywidgets 8) and links, not as on Colab.
    """
    if 'playing' in widgets.Play.class_traits() and 'google.colab' not in sys.modules:
        clock = widgets.Play(max=10**9, interval=int(1000 * INTERVAL), layout={'display': 'none'})
        clock.link = widgets.jslink((play, 'value'), (clock, 'playing'))
        return clock
    kernel_clock = KernelClock()
    traitlets.link((play, 'value'), (kernel_clock, 'playing'))
    return kernel_clock
