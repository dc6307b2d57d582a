"""The lab: a page that shows a game, and steers it."""

import functools
import html
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from d2l_gan.game import LIMITS, Game, check_within
from d2l_gan.lab import controls as parts
from d2l_gan.lab.clock import make_clock
from d2l_gan.lab.figure import Painter
from d2l_gan.losses import LOSSES
from d2l_gan.steps import at_rest


def _one_at_a_time(method: Callable) -> Callable:
    """One thread at a time: a page's messages may come on another thread than the cells'."""

    @functools.wraps(method)
    def with_lock(lab: 'GANLab', *args: Any, **kwargs: Any) -> Any:
        with lab.lock:
            return method(lab, *args, **kwargs)

    return with_lock


def _of_game(name: str, doc: str) -> property:
    """An attribute of the game."""
    return property(lambda lab: getattr(lab.game, name), doc=doc)


def _steers(name: str, doc: str) -> property:
    """An attribute of the game, or else of the page, that a control shows."""

    @_one_at_a_time
    def put(lab: 'GANLab', value: Any) -> None:
        if hasattr(lab.game, name):
            setattr(lab.game, name, value)
        elif hasattr(lab.controls[name], 'max'):
            check_within(name, value, lab.controls[name].min, lab.controls[name].max)
        lab.controls[name].value = value

    return property(lambda lab: lab.controls[name].value, put, doc=doc)


class GANLab(parts.Shown):
    """A GAN on points in the plane that you watch, steer and take back in time.

    On the left: real and generated points (from a fixed noise), D's opinion as a field, and for
    each generated point an arrow, the way that G's loss would have it go. On the right: losses,
    D(x) and D(G(z)), KL and W2. What the buttons do are methods too, what the controls show are
    attributes. Going back leaves the sliders where you put them: you can try another cure.
    The other parameters are those of `Game`, which is the lab's `game`; so are the errors.

    Parameters
    ----------
    speed : int, rounds in a frame while it plays, 1 to 50
    """

    lr_D = _steers('lr_D', "D's learning rate")
    lr_G = _steers('lr_G', "G's learning rate")
    d_steps = _steers('d_steps', 'D steps per G step, 0 to 10')
    batch_size = _steers('batch_size', 'points in a batch, 2 to 256')
    loss = _steers('loss', f'one of {tuple(LOSSES)}')
    target = _steers('target', '"your data", or a name in `TARGETS`')
    speed = _steers('speed', 'rounds in a frame while it plays, 1 to 50')
    warp = _steers('warp', 'whether to show the grid of z as G bends it')
    net_D = _of_game('net_D', 'the discriminator, trained in place')
    net_G = _of_game('net_G', 'the generator, trained in place')
    data = _of_game('data', 'the points of the target, shape (n, 2)')
    steps = _of_game('steps', 'how many rounds were played')
    diagnosis = _of_game('diagnosis', 'what `diagnose` says of it, as `Game.diagnosis`')
    history = _of_game('history', 'the record of the game, as `Game.history`')
    frame_seconds = 0.05  # of playing in one frame, however many rounds `speed` asks for

    _labs: 'weakref.WeakSet[GANLab]' = weakref.WeakSet()

    def __init__(
        self, net_D: nn.Module, net_G: nn.Module, data: Tensor, *, speed: int = 5, **settings: Any
    ):
        for other in list(self._labs):  # the cell was run again
            other.pause()
        self.lock = threading.RLock()
        self.game = Game(net_D, net_G, data, **settings)
        self._is_listening, self._verdict, self._diagnosed_at = True, '', 0.0
        self.controls = self._make_controls()
        self.speed = speed
        self.clock = make_clock(self.controls['play'])
        self.painter = Painter(self.game.latent_dim, self.game.device)
        self.picture = parts.picture(960, 480, 'the points and the record of the game')
        self.counter, self.news, self.error = widgets.Label(), widgets.HTML(), widgets.HTML()
        self.counter.add_class('lab-step')
        self._listen()
        super().__init__(self._arrange())
        self._labs.add(self)
        self.show()

    @_one_at_a_time
    def step(self, n: int = 1, seconds: float = math.inf) -> None:
        """Play `n` rounds, each of `d_steps` steps of D and one of G; begin none after `seconds`.

        The picture follows about once a second. An interrupted game stays where it is.
        """
        self._change(lambda: self.game.step(n, seconds, self.show))

    @_one_at_a_time
    def step_D(self) -> None:
        """One step of D alone."""
        self._change(self.game.step_D)

    @_one_at_a_time
    def step_G(self) -> None:
        """One step of G alone."""
        self._change(self.game.step_G)

    def play(self) -> None:
        """Play on, frame by frame, while a browser shows the lab; the kernel stays free."""
        self.controls['play'].value = self.clock.playing = True

    def pause(self) -> None:
        """Stop playing after the current frame."""
        self.controls['play'].value = self.clock.playing = False

    def reset(self) -> None:
        """Go back to the start. The time slider still leads to what was, until you step."""
        self._visit(0)

    @_one_at_a_time
    def go_to(self, record: int) -> None:
        """Go back (or forth) to `history[record]`, as `Game.go_to`."""
        self.game.go_to(record)
        self._quietly('target', value=self.game.target)
        self.show()

    def _visit(self, record: int) -> None:
        self.pause()
        self.go_to(record)

    def _change(self, action: Callable[[], None]) -> None:
        try:
            action()
        except KeyboardInterrupt:
            self.show()
            raise
        self.show()

    def _make_controls(self) -> dict[str, widgets.Widget]:
        def act(name: str, tooltip: str, action: Callable[[], None]) -> widgets.Widget:
            return parts.button(name, tooltip, lambda: self._guarded(action))

        game, slider = self.game, parts.slider
        losses = {name: loss.words for name, loss in LOSSES.items()}
        targets = {name: target.words for name, target in game.targets.items()}
        steps, batch = (game.d_steps, *LIMITS['d_steps']), (game.batch_size, *LIMITS['batch_size'])
        rates = {'base': 10, 'step': 0.1, 'readout_format': '.2g'}  # low and high are exponents
        time_style = {'readout': False, 'layout': {'width': '54em'}}
        controls = {
            'play': parts.toggle('play', 'play on, or pause', icon='play'),
            'step': act('one round', 'the D steps, then one G step', self.step),
            'step_D': act('one D step', 'only the discriminator moves', self.step_D),
            'step_G': act('one G step', 'only the generator moves', self.step_G),
            'reset': act('reset', 'back to the start', self.reset),
            'warp': parts.toggle('grid of z', 'show the plane of noise as the generator bends it'),
            'lr_D': slider('learning rate of D', "size of D's steps", game.lr_D, -5, -0.5, **rates),
            'lr_G': slider('learning rate of G', "size of G's steps", game.lr_G, -5, -0.5, **rates),
            'd_steps': slider('D steps per G step', '0: the discriminator stands still', *steps),
            'batch_size': slider('batch size', 'points in each step', *batch),
            'speed': slider('speed', 'rounds in each frame, if there is time', 5, 1, 50),
            'loss': parts.choice('loss', 'what the players minimise', losses),
            'target': parts.choice('target', 'what G should imitate', targets),
            'time': slider('time', 'go back to any recorded moment', 0, 0, 0, **time_style),
            'latest': act('latest', 'forth to the last recorded moment', lambda: self._visit(-1)),
        }
        controls['warp'].disabled = game.latent_dim != 2
        controls['loss'].value, controls['target'].value = game.loss, game.target
        return controls

    def _listen(self) -> None:
        for name in LIMITS:  # at once, also in the middle of many steps
            self.controls[name].observe(
                lambda change, name=name: setattr(self.game, name, change['new']), 'value'
            )
        self._on_change('target', lambda value: self._choose('target', value))
        self._on_change('loss', lambda value: self._choose('loss', value))
        self._on_change('warp', lambda value: self.show())
        self._on_change('time', self._visit)
        self._on_change('play', self._show_whether_it_plays)
        self.clock.observe(self._tick, 'value')
        self.picture._view_count = 0  # from now on, the page keeps it up to date
        self.picture.observe(self._pause_unseen, '_view_count')

    def _arrange(self) -> list[widgets.Widget]:
        c, clock = self.controls, [self.clock] if isinstance(self.clock, widgets.Widget) else []
        buttons = [c[name] for name in ('play', 'step', 'step_D', 'step_G', 'reset', 'warp')]
        sliders = widgets.VBox([c[name] for name in (*LIMITS, 'speed')])
        choices = widgets.VBox([c['loss'], c['target']])
        # Above the picture, where it is seen, and of one height, so that nothing jumps.
        news = widgets.VBox([self.error, self.news])
        news.layout = {'height': '5.5em', 'width': '960px', 'overflow': 'auto'}
        return [
            widgets.HBox([*buttons, self.counter, *clock]),
            widgets.HBox([sliders, choices]),
            news,
            self.picture,
            widgets.HBox([c['time'], c['latest']]),
        ]

    def _on_change(self, name: str, action: Callable[[Any], None]) -> None:
        def listen(change: dict) -> None:
            with self.lock:
                if self._is_listening:
                    self._guarded(lambda: action(change['new']))

        self.controls[name].observe(listen, 'value')

    def _choose(self, name: str, value: str) -> None:
        setattr(self.game, name, value)
        self.show()

    @_one_at_a_time
    def _guarded(self, action: Callable[[], None]) -> None:
        """Do what a control asks for; an error stops the game and is shown in the lab."""
        try:
            action()
        except (Exception, KeyboardInterrupt) as error:
            self.pause()
            self.error.value = parts.alert(error)
        else:
            self.error.value = ''

    @_one_at_a_time
    def _quietly(self, control: str, **values: Any) -> None:
        """Change a control without doing what it would do for a user."""
        self._is_listening = False
        try:
            for name, value in values.items():
                setattr(self.controls[control], name, value)
        finally:
            self._is_listening = True

    def _pause_unseen(self, change: dict) -> None:
        if change['new'] == 0:
            self.pause()

    def _tick(self, change: dict) -> None:
        # A tick that was on its way when the game was paused comes late. And where a cell steps
        # the game itself, the clock steps aside.
        if self.clock.playing and self.lock.acquire(blocking=False):
            try:
                self._guarded(lambda: self.step(self.speed, self.frame_seconds))
            finally:
                self.lock.release()

    def _show_whether_it_plays(self, plays: bool) -> None:
        play = self.controls['play']
        play.description = play.icon = 'pause' if plays else 'play'
        self._show_diagnosis(at_once=True)

    @_one_at_a_time
    def show(self) -> None:
        """Make the page what the game is."""
        game = self.game
        X, fake_X, pull = game.points()
        self.painter.points(X, fake_X, pull)
        self.painter.field(lambda places: game.opinion(places, torch.cat([X, fake_X])))
        with torch.no_grad(), at_rest(game.net_G):
            self.painter.grid(game.net_G if self.warp else None)
        self.painter.curves(game.history, game.record.at)
        self.picture.value = self.painter.live.frame()
        self.counter.value = f'step {game.steps}'
        self._show_diagnosis()
        self._quietly('time', max=len(game.history) - 1, value=game.record.at)

    def _show_diagnosis(self, at_once: bool = False) -> None:
        """Say how the game stands; while it plays, once a second, or when the verdict changes."""
        said, now = self.diagnosis(), time.monotonic()
        resting = at_once or not self.clock.playing
        if resting or said.verdict != self._verdict or now > self._diagnosed_at + 1:
            self._verdict, self._diagnosed_at = said.verdict, now
            self.news.value = parts.status(html.escape(str(said)))

    def still(self) -> bytes:
        """The picture as it is now, as PNG."""
        return self.painter.still()
