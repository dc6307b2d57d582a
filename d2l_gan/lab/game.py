"""The lab: a GAN on points in the plane, to be played, paused, changed and taken back in time."""

import copy
import functools
import html
import math
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as widgets
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2l_gan.lab.controls import LABELS, Picture, alert, button, choice, log_slider, slider, status
from d2l_gan.lab.figure import Painter
from d2l_gan.lab.targets import GAUSSIAN, TARGETS
from d2l_gan.measures import (
    at_rest,
    diagnose,
    gaussian_kl,
    gaussian_w2,
    linear_gaussian,
    non_saturating,
    observe,
    sample_kl,
    sample_w2,
    saturating,
)
from d2l_gan.steps import pair_loss, r1_penalty

GAMMA = 0.1  # weight of the R1 penalty
RECORD_EVERY = 10  # rounds, at first
GENERATOR_LOSSES = {'non-saturating': non_saturating, 'saturating': saturating}
PAIRED = 'relativistic + R1'
LOSSES = {
    'non-saturating': "G minimises -log D(G(z)), chapter 1's way",
    'saturating': 'G minimises log(1 - D(G(z))): no gradient where D is sure',
    PAIRED: 'each fake is compared with a real point, and D is kept flat near those',
}


def _control(name: str, doc: str) -> property:
    """An attribute of the lab that is the value of one of its controls."""

    def get(lab):
        return lab.controls[name].value

    def put(lab, value):
        _set(lab.controls[name], name, value)

    return property(get, put, doc=doc)


def _set(control: widgets.Widget, name: str, value) -> None:
    """Give the control a value; ValueError where it has no such value."""
    if hasattr(control, 'options'):
        if value not in control.options:
            raise ValueError(f'{name} must be one of {control.options}; got {value!r}')
    elif hasattr(control, 'max'):
        base = getattr(control, 'base', None)
        low, high = (base**end if base else end for end in (control.min, control.max))
        if not low <= value <= high:
            raise ValueError(f'{name} must lie between {low:.3g} and {high:.3g}; got {value}')
    control.value = value


def _alone(method: Callable) -> Callable:
    """One thread at a time: a page's messages may come on another thread than the cells'."""

    @functools.wraps(method)
    def one_at_a_time(lab, *args, **kwargs):
        with lab._busy:
            return method(lab, *args, **kwargs)

    return one_at_a_time


class GANLab(widgets.VBox):
    """A GAN on points in the plane that you watch, steer and take back in time.

    On the left: real and generated points (from a fixed noise), D's opinion as a field, and for
    each generated point an arrow, the way that G's loss would have it go. On the right: losses,
    D(x) and D(G(z)), KL and W2. What the buttons do can be done from code: `step`, `step_D`,
    `step_G`, `play`, `pause`, `reset`, `go_to`; what the controls show are attributes.

    Parameters
        net_D: your discriminator, points (n, 2) to logits (n, 1).
        net_G: your generator, noise (n, latent_dim) to points (n, 2).
        data: real points, shape (n, 2).
        latent_dim: by default what the first linear layer of `net_G` takes.
        gaussian: mean (2,) and covariance (2, 2) of the distribution that `data` came from, where
            it is a Gaussian. With a linear G, KL and W2 are then exact; else they are estimated.
        lr_D, lr_G, d_steps, batch_size, speed, loss, target: what the controls show at first.
        seed: of the batches and the noise.

    `history` is a list of records (dicts as `observe` returns them, with 'step', 'KL', 'W2'), one
    for every few steps. The networks are trained in place, by Adam. Going back in time takes the
    networks, Adam's memory, the noise and the target along; the learning rates and the other
    sliders stay where you put them, so that you can try another cure. Raises ValueError where the
    networks and the data do not fit together.
    """

    lr_D = _control('lr_D', "D's learning rate")
    lr_G = _control('lr_G', "G's learning rate")
    d_steps = _control('d_steps', 'D steps per G step, 0 to 10')
    batch_size = _control('batch_size', 'points in a batch, 2 to 256')
    speed = _control('speed', 'rounds per frame while it plays, 1 to 50')
    loss = _control('loss', f'one of {tuple(LOSSES)}')
    target = _control('target', f'"your data" or one of {tuple(TARGETS)}')
    warp = _control('warp', 'whether to show the grid of z as G bends it')

    frame_seconds = 0.05  # of playing in one frame, however many rounds `speed` asks for
    num_shown = 200  # generated points
    max_records = 400  # beyond which every second one is dropped
    max_bytes = 2e8  # of remembered weights, beyond which the same happens

    _labs: 'weakref.WeakSet[GANLab]' = weakref.WeakSet()

    def __init__(
        self,
        net_D: nn.Module,
        net_G: nn.Module,
        data: Tensor,
        latent_dim: int | None = None,
        gaussian: tuple[Tensor, Tensor] | None = None,
        lr_D: float = 0.05,
        lr_G: float = 0.005,
        d_steps: int = 1,
        batch_size: int = 8,
        speed: int = 5,
        loss: str = 'non-saturating',
        target: str = 'your data',
        seed: int = 0,
    ):
        for other in list(self._labs):  # the cell was run again
            other.pause()
        self._busy = threading.RLock()
        self.net_D, self.net_G = net_D, net_G
        self._check_weights()
        self.latent_dim = _latent_dim(net_G) if latent_dim is None else latent_dim
        self._device = next(net_G.parameters()).device
        self._random = torch.Generator().manual_seed(seed)
        self._own = torch.as_tensor(data).detach().float().to(self._device)
        self._own_gaussian = gaussian
        self._check()
        self._trainers = [
            torch.optim.Adam(net.parameters(), lr) for net, lr in ((net_D, lr_D), (net_G, lr_G))
        ]
        self.steps, self.history, self._states = 0, [], []
        self._at, self._record_every, self._listening = 0, RECORD_EVERY, True
        self._verdict, self._told = '', 0.0
        self.controls = self._make_controls()
        shown = {
            'lr_D': lr_D, 'lr_G': lr_G, 'd_steps': d_steps, 'batch_size': batch_size,
            'speed': speed, 'loss': loss, 'target': target,
        }  # fmt: skip
        for name, value in shown.items():
            _set(self.controls[name], name, value)
        self._make_listeners()
        self._set_target()
        self._fixed_Z = torch.randn(256, self.latent_dim, generator=self._random).to(self._device)
        self._painter = Painter(self.latent_dim, self._device)
        self._picture = Picture(960, 480, 'the points and the record of the game')
        self._counter = widgets.Label()
        self._counter.add_class('lab-step')
        self._diagnosis, self._error = widgets.HTML(), widgets.HTML()
        super().__init__(self._arrange())
        self._remember()
        self._labs.add(self)
        self._show()

    # The game -----------------------------------------------------------------------------------

    @_alone
    def step(self, n: int = 1, seconds: float = math.inf) -> None:
        """Play `n` rounds, each of `d_steps` steps of D and one of G; begin none after `seconds`.

        The picture follows about once a second. An interrupted game stays where it is.
        """
        start = shown = time.monotonic()
        with self._new_moment():
            for i in range(n):
                for _ in range(self.d_steps):
                    self._move_D()
                self._move_G()
                self.steps += 1
                now = time.monotonic()
                if i == n - 1 or now > start + seconds:
                    break
                if self._since_record(-1) >= self._record_every:
                    self._remember()
                if now > shown + 1:
                    self._show()
                    shown = time.monotonic()

    @_alone
    def step_D(self) -> None:
        """One step of D alone."""
        with self._new_moment():
            self._move_D()

    @_alone
    def step_G(self) -> None:
        """One step of G alone."""
        with self._new_moment():
            self._move_G()
            self.steps += 1

    def play(self) -> None:
        """Play on, frame by frame, as long as a browser shows the lab; the kernel stays free."""
        self.controls['play'].value = self.clock.playing = True

    def pause(self) -> None:
        """Stop playing after the current frame."""
        self.controls['play'].value = self.clock.playing = False

    def reset(self) -> None:
        """Go back to the start. The time slider still leads to what was, until you step."""
        self._visit(0)

    @_alone
    def go_to(self, record: int) -> None:
        """Go back (or forth) to `history[record]`: networks, optimisers, noise. Steps go on there.

        Raises IndexError where there is no such record.
        """
        if not -len(self._states) <= record < len(self._states):
            raise IndexError(f'record {record}: there are {len(self._states)}, from 0')
        self._at = record % len(self._states)
        state = self._states[self._at]
        self.net_D.load_state_dict(state['net_D'])
        self.net_G.load_state_dict(state['net_G'])
        for trainer, saved in zip(self._trainers, state['trainers'], strict=True):
            trainer.load_state_dict(copy.deepcopy(saved))
        self._random.set_state(state['random'])
        self.steps = self.history[self._at]['step']
        if state['target'] != self.target:
            self._quietly('target', value=state['target'])
            self._set_target()
        self._show()

    def diagnosis(self):
        """What `diagnose` says about the last 30 records before the moment that is shown.

        Records of another target are left out.
        """
        begin = self._at + 1
        while begin > max(0, self._at - 29) and self._states[begin - 1]['target'] == self.target:
            begin -= 1
        return diagnose(self.history[begin : self._at + 1])

    def _batch(self) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self.data), (self.batch_size,), generator=self._random)
        Z = torch.randn(self.batch_size, self.latent_dim, generator=self._random)
        return self.data[rows.to(self._device)], Z.to(self._device)

    def _move_D(self) -> None:
        X, Z = self._batch()
        with torch.no_grad():
            fake_X = self.net_G(Z)
        paired = self.loss == PAIRED
        X.requires_grad_(paired)
        real_Y, fake_Y = self.net_D(X), self.net_D(fake_X)
        if paired:
            loss_D = pair_loss(real_Y, fake_Y) + GAMMA / 2 * r1_penalty(real_Y, X)
        else:
            loss_D = (F.softplus(-real_Y).mean() + F.softplus(fake_Y).mean()) / 2
        self._descend(self._trainers[0], self.lr_D, loss_D, self.net_D)

    def _move_G(self) -> None:
        X, Z = self._batch()
        self._descend(self._trainers[1], self.lr_G, self._loss_G(self.net_G(Z), X), self.net_G)

    def _loss_G(self, fake_X: Tensor, X: Tensor) -> Tensor:
        fake_Y = self.net_D(fake_X)
        if self.loss == PAIRED:
            with torch.no_grad():
                real_Y = self.net_D(X)
            return pair_loss(fake_Y, real_Y)
        return GENERATOR_LOSSES[self.loss](fake_Y)

    def _descend(self, trainer, lr: float, loss: Tensor, net: nn.Module) -> None:
        trainer.param_groups[0]['lr'] = lr
        trainer.zero_grad()
        loss.backward(inputs=[w for w in net.parameters() if w.requires_grad])
        trainer.step()

    # The record ---------------------------------------------------------------------------------

    @contextmanager
    def _new_moment(self) -> Iterator[None]:
        """Around whatever changes the game: the future goes, the new present is kept and shown."""
        self._forget_the_future()
        try:
            yield
        except KeyboardInterrupt:
            self._remember()
            self._show()
            raise
        self._remember()
        self._show()

    def _remember(self) -> None:
        """Append the state of the game, and a record of it, to what can be gone back to."""
        X = self.data[: len(self._fixed_Z)]
        Z = self._fixed_Z[: len(X)]
        record = observe(
            self.net_D, self.net_G, X, Z, GENERATOR_LOSSES.get(self.loss, non_saturating),
            paired=self.loss == PAIRED,
        )  # fmt: skip
        if not all(map(math.isfinite, record.values())):
            raise FloatingPointError(
                'the networks no longer give finite numbers: lower the learning rates, '
                'and go back in time'
            )
        record |= {'step': self.steps, **self._distances(X, Z)}
        self.history.append(record)
        self._states.append(
            {
                'net_D': copy.deepcopy(self.net_D.state_dict()),
                'net_G': copy.deepcopy(self.net_G.state_dict()),
                'trainers': [copy.deepcopy(trainer.state_dict()) for trainer in self._trainers],
                'random': self._random.get_state(),
                'target': self.target,
            }
        )
        if len(self._states) > self._most_records():
            last = len(self._states) - 1
            keep = [i for i in range(last + 1) if i % 2 == 0 or i == last]
            self.history[:] = [self.history[i] for i in keep]
            self._states[:] = [self._states[i] for i in keep]
            self._record_every *= 2
        self._at = len(self._states) - 1

    def _most_records(self) -> float:
        weights = [w for net in (self.net_D, self.net_G) for w in net.parameters()]
        size = 3 * sum(w.nbytes for w in weights)  # Adam keeps two numbers for each weight
        return max(20, min(self.max_records, self.max_bytes // max(size, 1)))

    def _distances(self, X: Tensor, Z: Tensor) -> dict[str, float]:
        try:
            q = linear_gaussian(self.net_G) if self._gaussian is not None else None
        except ValueError:  # not linear
            q = None
        if q is None:
            with torch.no_grad(), at_rest(self.net_D, self.net_G):
                fake_X = self.net_G(Z)
            few = slice(128)  # the assignment takes the cube of their number
            return {'KL': sample_kl(fake_X, self.data), 'W2': sample_w2(fake_X[few], X[few])}
        p = [moment.cpu() for moment in self._gaussian]
        q = [moment.cpu() for moment in q]
        try:
            return {'KL': gaussian_kl(*q, *p).item(), 'W2': gaussian_w2(*q, *p).item()}
        except ValueError:  # G's covariance has collapsed to a line or a point
            q[1] = q[1] + 1e-12 * torch.eye(2)
            return {'KL': math.inf, 'W2': gaussian_w2(*q, *p).item()}

    def _forget_the_future(self) -> None:
        del self.history[self._at + 1 :], self._states[self._at + 1 :]
        coarse = self._record_every > RECORD_EVERY and len(self.history) > 1
        if coarse and self._since_record(-2) < self._record_every:
            del self.history[-1], self._states[-1]  # it marked the present, which moves on

    def _since_record(self, index: int) -> int:
        return self.steps - self.history[index]['step']

    def _check_weights(self) -> None:
        """See that both networks can learn, in single precision."""
        for name, net in (('net_D', self.net_D), ('net_G', self.net_G)):
            weights = [w for w in net.parameters() if w.requires_grad]
            if not weights:
                raise ValueError(f'{name} has no weights that learn: are they frozen?')
            if any(w.dtype != torch.float32 for w in weights):
                raise ValueError(f'{name} must be in float32: call {name}.float()')

    def _check(self) -> None:
        """Send one small batch through both networks."""
        if not self._own.isfinite().all():
            raise ValueError('data holds numbers that are not finite (nan or inf)')
        if self._own.ndim != 2 or self._own.shape[1] != 2 or len(self._own) < 8:
            raise ValueError(
                f'data must hold at least 8 points, shape (n, 2); got {tuple(self._own.shape)}'
            )
        Z = torch.randn(8, self.latent_dim, generator=self._random).to(self._device)
        with torch.no_grad(), at_rest(self.net_D, self.net_G):
            fake_X = self.net_G(Z)
            if fake_X.shape != (8, 2):
                raise ValueError(
                    f'net_G must map noise (n, {self.latent_dim}) to points (n, 2); '
                    f'8 draws became {tuple(fake_X.shape)}'
                )
            fake_Y = self.net_D(fake_X)
        if fake_Y.numel() != 8:
            raise ValueError(
                f'net_D must map points (n, 2) to n logits; 8 points became {tuple(fake_Y.shape)}'
            )

    # The controls -------------------------------------------------------------------------------

    def _make_controls(self) -> dict:
        def act(name, tooltip, action):
            return button(name, tooltip, lambda: self._guarded(action))

        targets = {name: draw.__doc__ for name, draw in TARGETS.items()}
        controls = {
            'play': widgets.ToggleButton(
                False, description='play', icon='play', tooltip='play on, or pause',
                layout={'width': '7em'},
            ),
            'step': act('one round', 'the D steps, then one G step', self.step),
            'step_D': act('one D step', 'only the discriminator moves', self.step_D),
            'step_G': act('one G step', 'only the generator moves', self.step_G),
            'reset': act('reset', 'back to the start', self.reset),
            'warp': widgets.ToggleButton(
                False, description='grid of z', layout={'width': '7em'},
                tooltip='show the plane of noise as the generator bends it',
                disabled=self.latent_dim != 2,
            ),
            'lr_D': log_slider(0.05, 'learning rate of D', "size of the discriminator's steps"),
            'lr_G': log_slider(0.005, 'learning rate of G', "size of the generator's steps"),
            'd_steps': slider(
                1, 0, 10, 'D steps per G step', '0: the discriminator stands still'
            ),
            'batch_size': slider(8, 2, 256, 'batch size', 'points in each step'),
            'speed': slider(5, 1, 50, 'speed', 'rounds in each frame, if there is time'),
            'loss': choice(LOSSES, 'loss', 'what the players minimise'),
            'target': choice(
                {'your data': 'the points that you gave', **targets}, 'target',
                'what G should imitate',
            ),
            'time': widgets.IntSlider(
                0, 0, 0, description='time', tooltip='go back to any recorded moment',
                readout=False, style=LABELS, layout={'width': '54em'},
            ),
            'latest': act('latest', 'forth to the last recorded moment', lambda: self._visit(-1)),
        }  # fmt: skip
        # The clock ticks in the browser: when no page shows the lab, it stands still. The button
        # is linked there too, so that a pause does not wait for the kernel.
        self.clock = widgets.Play(min=0, max=10**9, interval=40, layout={'display': 'none'})
        self._link = widgets.jslink((controls['play'], 'value'), (self.clock, 'playing'))
        return controls

    def _make_listeners(self) -> None:
        when = {
            'target': self._change_target,
            'warp': self._show,
            'loss': self._show,
            'time': lambda: self._visit(self.controls['time'].value),
            'play': self._show_whether_it_plays,
        }
        for name, action in when.items():
            self.controls[name].observe(self._listener(action), 'value')
        self.clock.observe(self._tick, 'value')
        self.clock._view_count = 0  # from now on, the page keeps it up to date
        self.clock.observe(self._when_out_of_sight, '_view_count')

    def _arrange(self) -> list[widgets.Widget]:
        c = self.controls
        buttons = [c[name] for name in ('play', 'step', 'step_D', 'step_G', 'reset', 'warp')]
        left = widgets.VBox(
            [c[name] for name in ('lr_D', 'lr_G', 'd_steps', 'batch_size', 'speed')]
        )
        right = widgets.VBox([c[name] for name in ('loss', 'target')])
        # Above the picture, where it is seen, and of one height, so that nothing jumps.
        news = widgets.VBox(
            [self._error, self._diagnosis],
            layout={'height': '5.5em', 'width': '960px', 'overflow': 'auto'},
        )
        return [
            widgets.HBox([*buttons, self._counter, self.clock]),
            widgets.HBox([left, right]),
            news,
            self._picture,
            widgets.HBox([c['time'], c['latest']]),
        ]

    def _listener(self, action: Callable[[], None]) -> Callable:
        def listen(change):
            with self._busy:
                if self._listening:
                    self._guarded(action)

        return listen

    @_alone
    def _guarded(self, action: Callable[[], None]) -> None:
        """Do what a control asks for; an error stops the game and is shown in the lab."""
        try:
            action()
        except (Exception, KeyboardInterrupt) as error:
            self.pause()
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._error.value = alert(
                error,
                f'<br>in <code>{html.escape(where.name)}</code>: '
                f'<code>{html.escape(where.line or "")}</code>',
            )
        else:
            self._error.value = ''

    @_alone
    def _quietly(self, control: str, **values) -> None:
        """Change a control without doing what it would do for a user."""
        self._listening = False
        try:
            for name, value in values.items():
                setattr(self.controls[control], name, value)
        finally:
            self._listening = True

    def _tick(self, change) -> None:
        # A tick that was on its way when the game was paused comes late. And where a cell steps
        # the game itself, the clock steps aside.
        if self.clock.playing and self._busy.acquire(blocking=False):
            try:
                self._guarded(lambda: self.step(self.speed, self.frame_seconds))
            finally:
                self._busy.release()

    def _when_out_of_sight(self, change) -> None:
        if change['new'] == 0:
            self.pause()

    def _show_whether_it_plays(self) -> None:
        button = self.controls['play']
        button.description = button.icon = 'pause' if button.value else 'play'
        self._tell(at_once=True)

    def _change_target(self) -> None:
        with self._new_moment():
            self._set_target()

    def _set_target(self) -> None:
        if self.target == 'your data':
            self.data, self._gaussian = self._own, self._own_gaussian
        else:
            random = torch.Generator().manual_seed(0)
            self.data = TARGETS[self.target](1000, random).to(self._device)
            self._gaussian = GAUSSIAN if self.target == 'Gaussian of chapter 1' else None

    def _visit(self, record: int) -> None:
        self.pause()
        self.go_to(record)

    # The picture --------------------------------------------------------------------------------

    def _show(self) -> None:
        X = self.data[: self.num_shown]
        Z = self._fixed_Z[: len(X)]
        with torch.enable_grad(), at_rest(self.net_D, self.net_G):
            fake_X = self.net_G(Z).detach().requires_grad_()
            pull = -len(X) * torch.autograd.grad(self._loss_G(fake_X, X), fake_X)[0]
        self._painter.points(X, fake_X.detach(), pull)
        with torch.no_grad(), at_rest(self.net_D, self.net_G):
            middle = torch.cat([self.net_D(X), self.net_D(fake_X)]).mean()
            shift = middle if self.loss == PAIRED else 0.0  # paired logits mean only differences
            self._painter.field(lambda x: torch.sigmoid(self.net_D(x) - shift))
            self._painter.grid(self.net_G if self.warp else None)
        self._painter.curves(self.history, self._at)
        self._picture.value = self._painter.live.frame()
        self._counter.value = f'step {self.steps}'
        self._tell()
        last = len(self.history) - 1
        if last < self.controls['time'].max:
            self._quietly('time', value=self._at, max=last)
        else:
            self._quietly('time', max=last, value=self._at)

    def _tell(self, at_once: bool = False) -> None:
        """Say how the game stands; while it plays, once a second, or when the verdict changes."""
        said, now = self.diagnosis(), time.monotonic()
        resting = at_once or not self.clock.playing
        if resting or said.verdict != self._verdict or now > self._told + 1:
            self._verdict, self._told = said.verdict, now
            self._diagnosis.value = status(html.escape(str(said)))

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """The live lab, and a picture of it for where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle['image/png'] = self._painter.live.whole(dpi=100)
        bundle['text/plain'] = 'GANLab'
        return bundle


def _latent_dim(net_G: nn.Module) -> int:
    layer = next((m for m in net_G.modules() if isinstance(m, nn.Linear)), None)
    if layer is None:
        raise ValueError('net_G has no linear layer to read the size of the noise off: '
                         'give latent_dim')  # fmt: skip
    return layer.in_features
