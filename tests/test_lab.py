"""The page of the lab, without a browser: what it shows, and what its controls do to the game."""

import io
import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from players import deep_nets, linear_nets, make, weights
from torch import nn

import d2l_gan as d2l
from d2l_gan.losses import LOSSES
from d2l_gan.targets import TARGETS


def make_lab(nets=linear_nets, init=0, **settings):
    return make(d2l.GANLab, nets, init, **settings)


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert('RGB')).astype(int)


# Time -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_reset_goes_back_to_the_start_and_keeps_the_way_forth():
    lab = make_lab()
    start = weights(lab)
    lab.step(30)
    end = weights(lab)
    lab.reset()
    assert lab.steps == 0
    assert torch.equal(weights(lab), start)
    lab.go_to(-1)
    assert lab.steps == 30
    assert torch.equal(weights(lab), end)


def test_going_back_brings_back_the_target():
    lab = make_lab()
    lab.step(10)
    before = len(lab.history) - 1
    lab.target = 'two moons'
    lab.step(10)
    lab.go_to(before)
    assert lab.target == lab.controls['target'].value == 'your data'
    assert len(lab.history) > before + 1  # the control moved, and began no new moment


@pytest.mark.slow
def test_a_long_play_forgets_no_part_of_the_game(monkeypatch):
    monkeypatch.setattr(d2l.GANLab, 'show', lambda lab: None)  # only the game
    lab = make_lab()
    lab.game.record.most, lab.frame_seconds = 20, 10  # however busy the machine is
    lab.play()
    for _ in range(300):
        lab.clock.value += 1
    steps = [record['step'] for record in lab.history]
    assert len(steps) <= 21
    assert (steps[0], steps[-1]) == (0, 1500)
    assert max(np.diff(steps)) <= 320
    assert lab.steps == 1500


def test_a_late_tick_destroys_nothing():
    lab = make_lab()
    lab.step(50)
    lab.play()
    lab.reset()
    lab.clock.value += 1
    assert lab.steps == 0
    assert lab.history[-1]['step'] == 50


def test_reset_keeps_the_target_that_the_lab_began_with():
    lab = make_lab(target='ring of eight')
    lab.step(5)
    lab.reset()
    assert lab.target == 'ring of eight'
    assert lab.data.norm(dim=1).mean() == pytest.approx(2, abs=0.1)


def test_the_saturating_loss_is_in_view_and_the_arrows_follow_a_change_of_loss():
    lab = make_lab()
    lab.step(20)
    before = lab.painter.arrows.U.copy()
    lab.loss = 'saturating'
    assert not np.allclose(before, lab.painter.arrows.U)
    lab.step(20)
    low, high = lab.painter.panels[0].get_ylim()
    assert low < lab.history[-1]['loss_G'] < 0 < high


# The controls ---------------------------------------------------------------------------------


def test_every_control_has_a_name_and_a_tooltip():
    lab = make_lab()
    for name, control in lab.controls.items():
        assert getattr(control, 'tooltip', None) or control.description_tooltip, name
        assert control.description, name


def test_a_new_loss_and_a_new_target_are_choices_with_their_words(monkeypatch):
    monkeypatch.setitem(LOSSES, 'a stranger', LOSSES['saturating'])
    monkeypatch.setitem(TARGETS, 'another stranger', TARGETS['two moons'])
    lab = make_lab()
    for name, value, words in (
        ('loss', 'a stranger', LOSSES['saturating'].words),
        ('target', 'another stranger', TARGETS['two moons'].words),
    ):
        control = lab.controls[name]
        assert control.tooltips[control.options.index(value)] == words
        control.value = value
        assert getattr(lab.game, name) == value


def test_attributes_steer_the_game_and_move_their_controls():
    """And a control that is moved on the page steers the game at once."""
    lab = make_lab()
    changes = {'lr_D': 0.01, 'lr_G': 0.1, 'd_steps': 3, 'batch_size': 64, 'loss': 'saturating'}
    changes |= {'target': 'two moons'}
    for name, value in changes.items():
        before = getattr(lab, name)
        setattr(lab, name, value)
        assert getattr(lab.game, name) == getattr(lab, name) == lab.controls[name].value == value
        lab.controls[name].value = before
        assert getattr(lab.game, name) == before, name


def test_the_widgets_do_what_the_methods_do():
    lab, twin = make_lab(), make_lab()
    lab.play()
    lab.clock.value += 1  # a frame, as the browser asks for it
    lab.pause()
    lab.clock.value += 1  # one that comes too late
    lab.controls['step'].click()
    lab.controls['step_D'].click()
    lab.controls['step_G'].click()
    twin.step(twin.speed)
    twin.step()
    twin.step_D()
    twin.step_G()
    assert torch.equal(weights(lab), weights(twin))
    lab.controls['time'].value = 1
    assert lab.steps == lab.history[1]['step']
    lab.controls['reset'].click()
    assert (lab.steps, lab.controls['time'].value) == (0, 0)
    assert lab.error.value == ''


def test_a_new_lab_pauses_the_one_before():
    lab = make_lab()
    lab.play()
    assert lab.clock.playing
    make_lab()
    assert not lab.clock.playing


def test_moving_the_time_slider_pauses():
    lab = make_lab()
    lab.step(20)
    lab.play()
    lab.controls['time'].value = 1
    assert not lab.clock.playing


def test_a_frame_takes_no_longer_than_its_budget():
    """However many rounds are asked for: a pause waits for one frame at most."""
    lab = make_lab(deep_nets, batch_size=256, speed=50, d_steps=10)
    lab.clock.playing = True
    start = time.perf_counter()
    lab.clock.value = 1
    assert 1 <= lab.steps < 50
    assert time.perf_counter() - start < lab.frame_seconds + 0.5  # drawing, on a busy machine
    assert lab.history[-1]['step'] == lab.steps


@pytest.mark.slow
def test_a_long_step_shows_where_it_is_and_keeps_it_when_interrupted(monkeypatch):
    class Slow(nn.Linear):
        def forward(self, Z):
            time.sleep(0.005)
            return super().forward(Z)

    lab = make_lab(lambda: (linear_nets()[0], Slow(2, 2)))
    seen, show = [], lab.show
    monkeypatch.setattr(lab, 'show', lambda: (seen.append(lab.steps), show()))
    lab.step(150)
    assert len(seen) >= 2 and seen == sorted(seen) and seen[-1] == 150
    calls = []

    def interrupt(net, Z):
        calls.append(lab.steps)
        if calls.count(183) == 1 and calls[-1] == 183:
            raise KeyboardInterrupt
        return nn.Linear.forward(net, Z)

    monkeypatch.setattr(Slow, 'forward', interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.step(100)
    assert lab.steps == lab.history[-1]['step'] == seen[-1] == 183
    assert lab.counter.value == 'step 183'


@pytest.mark.slow
def test_cells_and_the_page_take_turns():
    """ipykernel may bring the page's messages on another thread than the cells'."""
    lab, errors = make_lab(), []
    lab.clock.playing = True

    def page():
        for tick in range(1, 30):
            lab.clock.value = tick
            lab.controls['step_D'].click()
            errors.append(lab.error.value)

    other = threading.Thread(target=page)
    other.start()
    while other.is_alive():
        time.sleep(0.02)  # a lock is not fair: who asks again at once may get it each time
        lab.step(3)
        lab.go_to(len(lab.history) // 2)
        lab.loss = 'saturating' if lab.loss == 'non-saturating' else 'non-saturating'
    other.join()
    assert set(errors) == {''}
    steps = [record['step'] for record in lab.history]
    assert steps == sorted(steps) and len(lab.history) == len(lab.game.record.states)


def test_a_control_moved_while_the_lab_moves_others_is_heard_after_it():
    lab = make_lab()
    user = threading.Thread(target=lambda: setattr(lab.controls['target'], 'value', 'two moons'))

    def while_the_lab_moves_the_time_slider(change):
        if not user.ident:
            user.start()
            time.sleep(0.2)

    lab.controls['time'].observe(while_the_lab_moves_the_time_slider, 'value')
    lab.step(10)
    user.join()
    assert torch.equal(lab.data, TARGETS['two moons'].draw(1000, torch.Generator().manual_seed(0)))


def test_the_clock_steps_aside_while_a_cell_steps():
    lab = make_lab()
    lab.clock.playing = True
    with lab.lock:
        ticking = threading.Thread(target=lambda: setattr(lab.clock, 'value', 1))
        ticking.start()
        ticking.join(5)
        assert not ticking.is_alive()
    assert lab.steps == 0


def test_out_of_sight_it_stops():
    lab = make_lab()
    lab.picture._view_count = 1
    lab.play()
    assert lab.clock.playing and lab.controls['play'].description == 'pause'
    lab.picture._view_count = 0  # the output was cleared
    assert not lab.clock.playing and lab.controls['play'].description == 'play'


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'lr_D': 2.0}, 'lr_D must lie between 1e-05 and 0.316; got 2.0'),
        ({'batch_size': 1}, 'batch_size must lie between 2 and 256; got 1'),
        ({'speed': 0}, 'speed must lie between 1 and 50; got 0'),
        ({'loss': 'wgan'}, "loss must be one of .*'saturating'.*; got 'wgan'"),
        ({'target': 'cat'}, "target must be one of .*'two moons'.*; got 'cat'"),
    ],
)
def test_a_setting_that_no_control_has_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        make_lab(**setting)
    lab = make_lab()
    (name,) = setting
    with pytest.raises(ValueError, match=message):
        setattr(lab, name, setting[name])
    assert getattr(lab, name) == lab.controls[name].value


def test_latest_leads_back_from_the_past():
    lab = make_lab()
    lab.step(30)
    end = weights(lab)
    lab.go_to(0)
    lab.controls['latest'].click()
    assert lab.steps == 30 and torch.equal(weights(lab), end)


def test_the_diagnosis_holds_still_while_it_plays_unless_the_verdict_changes(monkeypatch):
    lab = make_lab()
    lab.step(100)
    lab.play()
    now, ticks = time.monotonic(), iter(range(1000))
    monkeypatch.setattr(time, 'monotonic', lambda: now + next(ticks) * 1e-4)
    said = iter([('a', '1'), ('a', '2'), ('b', '3')])
    monkeypatch.setattr(lab.game, 'diagnosis', lambda: d2l.Diagnosis(*next(said), 'Do.'))
    shown = []
    for _ in range(3):
        lab.step()
        shown.append(lab.news.value)
    assert shown[0] == shown[1] != shown[2]
    assert lab.counter.value == 'step 103'


def test_an_error_in_your_module_is_shown_and_stops_the_game():
    class Moody(nn.Linear):
        calls = 0

        def forward(self, Z):
            self.calls += 1
            if self.calls > 30:
                raise RuntimeError('I <give> up')
            return super().forward(Z)

    lab = make_lab(lambda: (linear_nets()[0], Moody(2, 2)))
    lab.play()
    for _ in range(10):
        lab.clock.value += 1
    assert 'RuntimeError' in lab.error.value
    assert not lab.clock.playing
    assert 'RuntimeError' in lab.error.value
    assert 'I &lt;give&gt; up' in lab.error.value
    assert 'in <code>forward</code>' in lab.error.value
    with pytest.raises(RuntimeError, match='I <give> up'):
        lab.step()
    Moody.forward = nn.Linear.forward
    lab.controls['step'].click()
    assert lab.error.value == ''


def test_numbers_that_overflow_stop_the_game_and_say_what_to_do():
    lab = make_lab()
    lab.step(10)
    with torch.no_grad():
        lab.net_G[0].weight.fill_(math.nan)
    lab.controls['step'].click()
    assert 'no longer give finite numbers' in lab.error.value
    lab.go_to(-1)
    lab.controls['step'].click()
    assert lab.error.value == ''


# The picture ----------------------------------------------------------------------------------


def test_where_no_kernel_runs_a_picture_stands_in():
    lab = make_lab()
    lab.step(20)
    bundle = lab._repr_mimebundle_()
    assert bundle['text/plain'] == 'GANLab'
    assert 'application/vnd.jupyter.widget-view+json' in bundle
    assert picture(bundle['image/png']).shape == (480, 960, 3)


@pytest.mark.slow
def test_the_frame_keeps_its_size_and_shows_what_is_new():
    lab = make_lab()
    earlier = picture(lab.picture.value)
    for action in (
        lab.step, lab.step_D, lambda: setattr(lab, 'warp', True), lambda: lab.go_to(0),
        lambda: setattr(lab, 'target', '5 x 5 grid'), lambda: lab.step(300),
    ):  # fmt: skip
        action()
        now = picture(lab.picture.value)
        assert now.shape == earlier.shape == (480, 960, 3)
        assert (now != earlier).any()
        earlier = now


def test_the_field_is_ds_opinion_and_has_no_level_in_a_paired_game():
    lab = make_lab()
    lab.step(5)
    places, field = lab.painter.places, np.asarray(lab.painter.opinion.get_array())
    with torch.no_grad():
        expected = torch.sigmoid(lab.net_D(places)).reshape(field.shape)
    np.testing.assert_allclose(field, expected, atol=1e-6)
    left, right, bottom, top = lab.painter.opinion.get_extent()
    assert places[0].tolist() == pytest.approx([left, bottom])
    assert places[-1].tolist() == pytest.approx([right, top])
    assert places[1, 0] > places[0, 0]  # along a row, x_1 grows
    lab.loss = 'relativistic + R1'
    with torch.no_grad():
        lab.net_D[-1].bias += 100
    lab.show()
    field = np.asarray(lab.painter.opinion.get_array())
    assert 0.05 < field.mean() < 0.95


def test_grid_of_z_is_bent_by_g():
    lab = make_lab()
    lab.warp = True
    with torch.no_grad():
        lab.net_G[0].weight.copy_(torch.eye(2))
        lab.net_G[0].bias.copy_(torch.tensor([1.0, -1.0]))
    lab.show()
    lines = np.array(lab.painter.mesh_lines.get_segments())
    assert lines.shape == (18, 25, 2)
    assert (lines.min((0, 1)) == [-1, -3]).all() and (lines.max((0, 1)) == [3, 1]).all()
    lab.warp = False
    assert lab.painter.mesh_lines.get_segments() == []


def test_the_still_shows_a_record_that_fills_its_panels():
    lab = make_lab()
    lab.step(120)
    before = lab.painter.panels[0].get_xlim()
    shown = []
    lab.painter.live.whole = lambda dpi: shown.append(lab.painter.panels[2].get_xlim()) or b''
    lab.still()
    assert shown == [(0, 120)]
    assert lab.painter.panels[0].get_xlim() == before != (0, 120)
