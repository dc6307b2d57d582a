"""The lab without a browser: what its buttons do, done from code."""

import io
import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import d2l_gan as d2l
from d2l_gan.lab import GAUSSIAN, LOSSES, TARGETS


def linear_nets():
    net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    return net_D, nn.Sequential(nn.Linear(2, 2))


def deep_nets(hidden=64):
    def net(outputs):
        return nn.Sequential(
            nn.Linear(2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, outputs),
        )  # fmt: skip

    return net(1), net(2)


def make_lab(nets=linear_nets, init=0, **settings):
    torch.manual_seed(init)
    net_D, net_G = nets()
    mean, cov = GAUSSIAN
    data = torch.randn(400, 2) @ torch.linalg.cholesky(cov).T + mean
    return d2l.GANLab(net_D, net_G, data, **settings)


def weights(lab):
    return torch.cat(
        [w.detach().flatten() for net in (lab.net_D, lab.net_G) for w in net.parameters()]
    )


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert('RGB')).astype(int)


# The game -------------------------------------------------------------------------------------


def test_a_round_is_the_two_steps_of_chapter_1():
    lab, twin = make_lab(), make_lab()
    trainer_D = torch.optim.Adam(twin.net_D.parameters(), lr=0.05)
    trainer_G = torch.optim.Adam(twin.net_G.parameters(), lr=0.005)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(3):
        X, Z = twin._batch()
        d2l.update_D(X, Z, twin.net_D, twin.net_G, loss, trainer_D)
        X, Z = twin._batch()
        d2l.update_G(Z, twin.net_D, twin.net_G, loss, trainer_G)
    lab.step(3)
    torch.testing.assert_close(weights(lab), weights(twin))
    assert lab.steps == 3


def test_a_step_of_one_player_leaves_the_other_where_it_is():
    lab = make_lab()
    for step, moved, kept in (
        (lab.step_D, lab.net_D, lab.net_G),
        (lab.step_G, lab.net_G, lab.net_D),
    ):
        before = [w.clone() for net in (moved, kept) for w in net.parameters()]
        step()
        after = [w for net in (moved, kept) for w in net.parameters()]
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        count = len(list(moved.parameters()))
        assert not any(same[:count]) and all(same[count:])


def test_the_controls_steer_the_game(monkeypatch):
    monkeypatch.setattr(d2l.GANLab, '_show', lambda lab: None)  # only the game

    def run(**settings):
        lab = make_lab()
        for name, value in settings.items():
            setattr(lab, name, value)
        lab.step(3)
        return weights(lab)

    plain = run()
    assert torch.equal(plain, run())
    changes = [{'lr_D': 0.01}, {'lr_G': 0.05}, {'d_steps': 3}, {'batch_size': 64}]
    changes += [{'loss': name} for name in list(LOSSES)[1:]] + [
        {'target': name} for name in TARGETS
    ]
    for change in changes:
        assert not torch.allclose(plain, run(**change)), change


def test_without_steps_of_d_only_g_moves():
    lab = make_lab()
    before = [w.clone() for w in lab.net_D.parameters()]
    lab.d_steps = 0
    lab.step(5)
    assert all(torch.equal(a, b) for a, b in zip(before, lab.net_D.parameters(), strict=True))


@pytest.mark.parametrize('loss', LOSSES)
def test_arrows_go_downhill_on_gs_loss(loss, monkeypatch):
    lab = make_lab()
    lab.loss = loss
    lab.step(20)
    seen = {}
    points = lab._painter.points
    monkeypatch.setattr(
        lab._painter,
        'points',
        lambda X, fake, pull: (seen.update(X=X, fake=fake, pull=pull), points(X, fake, pull)),
    )
    lab._show()
    with torch.no_grad():
        here = lab._loss_G(seen['fake'], seen['X'])
        there = lab._loss_G(seen['fake'] + 1e-2 * seen['pull'], seen['X'])
    assert there < here


def test_the_chapters_recipe_arrives_at_its_gaussian():
    mean, cov = GAUSSIAN
    lab = make_lab(gaussian=(mean, cov))
    lab.step(1500)
    assert lab.history[-1]['KL'] < 0.5 < lab.history[0]['KL']
    assert lab.history[-1]['KL'] == pytest.approx(
        d2l.gaussian_kl(*d2l.linear_gaussian(lab.net_G), mean, cov).item()
    )


def test_distances_are_estimated_where_g_is_not_linear():
    lab = make_lab(deep_nets, gaussian=GAUSSIAN)
    far = lab.history[0]
    assert math.isfinite(far['KL']) and far['KL'] > 1 and far['W2'] > 1


def test_a_collapsed_linear_generator_is_infinitely_far_in_kl_and_does_not_stop_the_lab():
    lab = make_lab(gaussian=GAUSSIAN, lr_D=1e-5, lr_G=1e-5)
    nn.init.zeros_(lab.net_G[0].weight)
    lab.step()
    assert lab.history[-1]['KL'] > 5
    assert math.isfinite(lab.history[-1]['W2'])


# Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('loss', LOSSES)
def test_a_game_resumed_from_the_past_runs_as_it_did(loss):
    lab = make_lab(loss=loss)
    lab.step(60)
    lab.step(40)
    end, records = weights(lab), list(lab.history)
    index = next(i for i, record in enumerate(records) if record['step'] == 60)
    lab.go_to(index)
    assert lab.steps == 60
    assert lab.history == records  # looking back loses nothing
    lab.step(40)
    assert torch.equal(weights(lab), end)
    assert lab.history == records


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


def test_stepping_from_the_past_overwrites_the_future():
    lab = make_lab()
    lab.step(50)
    lab.go_to(2)
    at = lab.steps
    lab.step(1)
    assert [record['step'] for record in lab.history][-2:] == [at, at + 1]
    with pytest.raises(IndexError, match='record 99: there are 4'):
        lab.go_to(99)


def test_going_back_brings_back_the_target():
    lab = make_lab()
    lab.step(10)
    before = len(lab.history) - 1
    lab.target = 'two moons'
    lab.step(10)
    lab.go_to(before)
    assert lab.target == 'your data'
    assert torch.equal(lab.data, lab._own)


def test_a_long_game_is_remembered_from_start_to_end_in_bounded_memory():
    lab = make_lab()
    lab.max_records = 20
    lab.step(1000)
    steps = [record['step'] for record in lab.history]
    assert len(steps) == len(lab._states) <= 21
    assert (steps[0], steps[-1]) == (0, 1000)
    assert max(np.diff(steps)) <= 200
    assert make_lab(lambda: deep_nets(600))._most_records() < 100


def test_a_long_play_forgets_no_part_of_the_game(monkeypatch):
    monkeypatch.setattr(d2l.GANLab, '_show', lambda lab: None)  # only the game
    lab = make_lab()
    lab.max_records, lab.frame_seconds = 20, 10  # however busy the machine is
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


def test_looking_changes_nothing_in_batch_normalisation_or_dropout():
    def nets():
        net_D, net_G = deep_nets()
        net_G.insert(1, nn.BatchNorm1d(64))
        net_D.insert(2, nn.Dropout(0.3))
        net_D[0].weight.requires_grad_(False)
        return net_D, net_G

    lab = make_lab(nets)
    lab.step(5)
    before = {k: v.clone() for k, v in lab.net_G.state_dict().items()}
    field = np.asarray(lab._painter.opinion.get_array()).copy()
    lab.warp = True
    lab._show()
    assert all(torch.equal(before[k], v) for k, v in lab.net_G.state_dict().items())
    assert np.array_equal(field, np.asarray(lab._painter.opinion.get_array()))
    assert all(m.training for net in (lab.net_D, lab.net_G) for m in net.modules())


def test_the_saturating_loss_is_in_view_and_the_arrows_follow_a_change_of_loss():
    lab = make_lab()
    lab.step(20)
    before = lab._painter.arrows.U.copy()
    lab.loss = 'saturating'
    assert not np.allclose(before, lab._painter.arrows.U)
    lab.step(20)
    low, high = lab._painter.panels[0].get_ylim()
    assert low < lab.history[-1]['loss_G'] < 0 < high


# The controls ---------------------------------------------------------------------------------


def test_every_control_has_a_name_and_a_tooltip():
    lab = make_lab()
    for name, control in lab.controls.items():
        assert control.tooltip, name
        assert control.description, name


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
    assert lab._error.value == ''


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


def test_a_long_step_shows_where_it_is_and_keeps_it_when_interrupted(monkeypatch):
    lab = make_lab()
    seen, show = [], lab._show
    monkeypatch.setattr(lab, '_show', lambda: (seen.append(lab.steps), show()))
    monkeypatch.setattr(lab, '_move_D', lambda: time.sleep(0.01))
    lab.step(150)
    assert len(seen) >= 2 and seen == sorted(seen) and seen[-1] == 150

    def interrupt():
        if lab.steps == 183:
            raise KeyboardInterrupt

    monkeypatch.setattr(lab, '_move_D', interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.step(100)
    assert lab.steps == lab.history[-1]['step'] == seen[-1] == 183


def test_a_long_game_can_be_begun_again_from_its_start():
    lab = make_lab()
    lab.max_records = 20
    lab.step(500)
    assert lab._record_every > 10
    for action in (lab.step, lab.step_D, lambda: setattr(lab, 'target', 'two moons')):
        lab.go_to(0)
        action()
        assert [len(lab.history), lab._at] == [2, 1]
    assert lab._error.value == ''
    lab.step(50)
    assert lab.steps == lab.history[-1]['step'] == 50


def test_cells_and_the_page_take_turns():
    """ipykernel may bring the page's messages on another thread than the cells'."""
    lab, errors = make_lab(), []
    lab.clock.playing = True

    def page():
        for tick in range(1, 30):
            lab.clock.value = tick
            lab.controls['step_D'].click()
            errors.append(lab._error.value)

    other = threading.Thread(target=page)
    other.start()
    while other.is_alive():
        lab.step(3)
        lab.go_to(len(lab.history) // 2)
        lab.loss = 'saturating' if lab.loss == 'non-saturating' else 'non-saturating'
    other.join()
    assert set(errors) == {''}
    steps = [record['step'] for record in lab.history]
    assert steps == sorted(steps) and len(lab.history) == len(lab._states)


def test_a_control_moved_while_the_lab_moves_others_is_heard_after_it():
    lab = make_lab()
    with lab._busy:
        lab._listening = False  # as when the lab itself moves the time slider
        user = threading.Thread(target=lambda: setattr(lab, 'target', 'two moons'))
        user.start()
        time.sleep(0.2)
        lab._listening = True
    user.join()
    assert torch.equal(lab.data, TARGETS['two moons'](1000, torch.Generator().manual_seed(0)))


def test_the_clock_steps_aside_while_a_cell_steps():
    lab = make_lab()
    lab.clock.playing = True
    with lab._busy:
        ticking = threading.Thread(target=lambda: setattr(lab.clock, 'value', 1))
        ticking.start()
        ticking.join(5)
        assert not ticking.is_alive()
    assert lab.steps == 0


def test_out_of_sight_it_stops():
    lab = make_lab()
    lab.clock._view_count = 1
    lab.play()
    assert lab.clock.playing and lab.controls['play'].description == 'pause'
    lab.clock._view_count = 0  # the output was cleared
    assert not lab.clock.playing and lab.controls['play'].description == 'play'


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'lr_D': 2.0}, 'lr_D must lie between 1e-05 and 0.316; got 2.0'),
        ({'batch_size': 1}, 'batch_size must lie between 2 and 256; got 1'),
        ({'loss': 'wgan'}, "loss must be one of .*'saturating'.*; got 'wgan'"),
        ({'target': 'cat'}, "target must be one of .*'two moons'.*; got 'cat'"),
    ],
)
def test_a_setting_that_no_control_has_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        make_lab(**setting)
    lab = make_lab()
    with pytest.raises(ValueError, match=message):
        setattr(lab, *setting.popitem())


def test_the_diagnosis_forgets_another_target_and_what_is_long_ago():
    lab = make_lab()
    lab.step(200)
    lab.target = 'ring of eight'
    assert lab.diagnosis().verdict == 'too early to say'
    assert '1 records' in str(lab.diagnosis())
    lab.step(1000)
    assert lab.diagnosis() == d2l.diagnose(lab.history[-30:])


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
    clock = iter(range(1000))
    monkeypatch.setattr(time, 'monotonic', lambda: lab._told + next(clock) * 1e-4)
    said = iter([('a', '1'), ('a', '2'), ('b', '3')])
    monkeypatch.setattr(lab, 'diagnosis', lambda: d2l.Diagnosis(*next(said), 'Do.'))
    shown = []
    for _ in range(3):
        lab.step()
        shown.append(lab._diagnosis.value)
    assert shown[0] == shown[1] != shown[2]
    assert lab._counter.value == 'step 103'


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
    assert 'RuntimeError' in lab._error.value
    assert not lab.clock.playing
    assert 'RuntimeError' in lab._error.value
    assert 'I &lt;give&gt; up' in lab._error.value
    assert 'in <code>forward</code>' in lab._error.value
    with pytest.raises(RuntimeError, match='I <give> up'):
        lab.step()
    Moody.forward = nn.Linear.forward
    lab.controls['step'].click()
    assert lab._error.value == ''


def test_numbers_that_overflow_stop_the_game_and_say_what_to_do():
    lab = make_lab()
    lab.step(10)
    with torch.no_grad():
        lab.net_G[0].weight.fill_(math.nan)
    lab.controls['step'].click()
    assert 'no longer give finite numbers' in lab._error.value
    lab.go_to(-1)
    lab.controls['step'].click()
    assert lab._error.value == ''


@pytest.mark.parametrize(
    ('net_D', 'net_G', 'data', 'message'),
    [
        (nn.Linear(2, 1), nn.Linear(2, 3), torch.zeros(9, 2), r'net_G must map .* \(8, 3\)'),
        (nn.Linear(2, 2), nn.Linear(2, 2), torch.zeros(9, 2), r'net_D must map .* \(8, 2\)'),
        (nn.Linear(2, 1), nn.Linear(2, 2), torch.zeros(9, 3), r'data must .* \(9, 3\)'),
        (nn.Linear(2, 1), nn.Conv2d(1, 1, 1), torch.zeros(9, 2), 'give latent_dim'),
        (nn.Linear(2, 1), nn.Identity(), torch.zeros(9, 2), 'net_G has no weights that learn'),
        (nn.Linear(2, 1).requires_grad_(False), nn.Linear(2, 2), torch.zeros(9, 2), 'net_D has no'),
        (nn.Linear(2, 1), nn.Linear(2, 2).double(), torch.zeros(9, 2), r'call net_G.float\(\)'),
        (nn.Linear(2, 1), nn.Linear(2, 2), torch.full((9, 2), torch.nan), 'not finite'),
    ],
)
def test_networks_that_do_not_fit_are_named(net_D, net_G, data, message):
    with pytest.raises(ValueError, match=message):
        d2l.GANLab(net_D, net_G, data)


@pytest.mark.parametrize('name', TARGETS)
def test_targets_are_what_they_are_called(name):
    points = TARGETS[name](4000, torch.Generator().manual_seed(0))
    assert points.shape == (4000, 2)
    if name == 'ring of eight':
        angle = torch.arange(8) * math.pi / 4
        places = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    elif name == '5 x 5 grid':
        places = torch.cartesian_prod(torch.arange(-2.0, 3), torch.arange(-2.0, 3))
    elif name == 'two moons':
        angle = torch.linspace(0, math.pi, 200)
        moon = torch.stack([angle.cos(), angle.sin()], 1)
        other = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
        places = 1.5 * (torch.cat([moon, other]) - torch.tensor([0.5, 0.25]))
    else:
        mean, cov = GAUSSIAN
        torch.testing.assert_close(points.mean(0), mean, atol=0.1, rtol=0)
        torch.testing.assert_close(points.T.cov(), cov, atol=0.25, rtol=0)
        return
    distance, index = torch.cdist(points, places).min(1)
    assert distance.max() < 0.6 and distance.mean() < 0.2
    assert torch.bincount(index, minlength=len(places)).min() > 0


# The picture ----------------------------------------------------------------------------------


def test_where_no_kernel_runs_a_picture_stands_in():
    lab = make_lab()
    lab.step(20)
    bundle = lab._repr_mimebundle_()
    assert bundle['text/plain'] == 'GANLab'
    assert 'application/vnd.jupyter.widget-view+json' in bundle
    assert picture(bundle['image/png']).shape == (480, 960, 3)


def test_the_frame_keeps_its_size_and_shows_what_is_new():
    lab = make_lab()
    earlier = picture(lab._picture.value)
    for action in (
        lab.step, lab.step_D, lambda: setattr(lab, 'warp', True), lambda: lab.go_to(0),
        lambda: setattr(lab, 'target', '5 x 5 grid'), lambda: lab.step(300),
    ):  # fmt: skip
        action()
        now = picture(lab._picture.value)
        assert now.shape == earlier.shape == (480, 960, 3)
        assert (now != earlier).any()
        earlier = now


def test_the_field_is_ds_opinion_and_has_no_level_in_a_paired_game():
    lab = make_lab()
    lab.step(5)
    places, field = lab._painter.places, np.asarray(lab._painter.opinion.get_array())
    with torch.no_grad():
        expected = torch.sigmoid(lab.net_D(places)).reshape(field.shape)
    np.testing.assert_allclose(field, expected, atol=1e-6)
    left, right, bottom, top = lab._painter.opinion.get_extent()
    assert places[0].tolist() == pytest.approx([left, bottom])
    assert places[-1].tolist() == pytest.approx([right, top])
    assert places[1, 0] > places[0, 0]  # along a row, x_1 grows
    lab.loss = 'relativistic + R1'
    with torch.no_grad():
        lab.net_D[-1].bias += 100
    lab._show()
    field = np.asarray(lab._painter.opinion.get_array())
    assert 0.05 < field.mean() < 0.95


def test_grid_of_z_is_bent_by_g():
    lab = make_lab()
    lab.warp = True
    with torch.no_grad():
        lab.net_G[0].weight.copy_(torch.eye(2))
        lab.net_G[0].bias.copy_(torch.tensor([1.0, -1.0]))
    lab._show()
    lines = np.array(lab._painter.threads.get_segments())
    assert lines.shape == (18, 25, 2)
    assert (lines.min((0, 1)) == [-1, -3]).all() and (lines.max((0, 1)) == [3, 1]).all()
    lab.warp = False
    assert lab._painter.threads.get_segments() == []


# Collapse -------------------------------------------------------------------------------------


def modes(lab):
    """How many of the ring's eight places hold at least 2 % of the generated points."""
    with torch.no_grad():
        fake = lab.net_G(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)))
    angle = torch.arange(8) * math.pi / 4
    distance, index = torch.cdist(fake, 2 * torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    return int((torch.bincount(index[distance < 0.5], minlength=8) >= 20).sum())


def test_a_gan_collapses_is_told_why_and_is_cured_with_one_slider(monkeypatch):
    monkeypatch.setattr(d2l.GANLab, '_show', lambda lab: None)  # only the game
    monkeypatch.setattr(d2l.GANLab, '_distances', lambda lab, X, Z: {'KL': 0.0, 'W2': 0.0})
    told, cured = [], []
    for init in range(3):
        lab = make_lab(deep_nets, init, lr_D=0.0001, lr_G=0.002, batch_size=64)
        lab.target = 'ring of eight'
        lab.step(600)
        assert modes(lab) <= 2
        told.append('D is behind: raise its learning rate' in lab.diagnosis().advice)
        lab.lr_D = 0.003
        lab.step(1500)
        cured.append(modes(lab) >= 5)
    assert sum(told) == 3
    assert sum(cured) >= 2
