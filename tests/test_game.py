"""The game without a page: steps, what they change, time, checks, collapse and cure."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from players import deep_nets, linear_nets, make, weights
from torch import nn

import d2l_gan as d2l
from d2l_gan import game as module
from d2l_gan.losses import LOSSES, Loss
from d2l_gan.targets import GAUSSIAN, TARGETS, Target


def make_game(nets=linear_nets, init=0, **settings):
    return make(d2l.Game, nets, init, **settings)


@pytest.fixture
def unmeasured(monkeypatch):
    """Leave the distances out: they take longer than the game."""
    monkeypatch.setattr(module, 'sample_kl', lambda *_: 0.0)
    monkeypatch.setattr(module, 'sample_w2', lambda *_: 0.0)


@pytest.mark.slow
def test_it_can_be_played_in_a_script_without_jupyter():
    code = """
import sys, torch
from d2l_gan import Game
game = Game(torch.nn.Linear(2, 1), torch.nn.Linear(2, 2), torch.randn(100, 2))
game.step(25)
game.go_to(1)
game.lr_D = 0.01
print(game.steps, len(game.history), *{'ipywidgets', 'IPython', 'd2l_gan.lab'} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == '10 4\n', done.stderr


# Steps ----------------------------------------------------------------------------------------


def test_a_round_is_the_two_steps_of_chapter_1():
    game, twin = make_game(), make_game()
    trainer_D = torch.optim.Adam(twin.net_D.parameters(), lr=0.05)
    trainer_G = torch.optim.Adam(twin.net_G.parameters(), lr=0.005)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(3):
        X, Z = twin.batch()
        d2l.update_D(X, Z, twin.net_D, twin.net_G, loss, trainer_D)
        X, Z = twin.batch()
        d2l.update_G(Z, twin.net_D, twin.net_G, loss, trainer_G)
    game.step(3)
    torch.testing.assert_close(weights(game), weights(twin))
    assert game.steps == 3


def test_a_step_of_one_player_leaves_the_other_where_it_is_and_only_gs_ends_a_round():
    game = make_game()
    for step, moved, kept, rounds in (
        (game.step_D, game.net_D, game.net_G, 0),
        (game.step_G, game.net_G, game.net_D, 1),
    ):
        before = [w.clone() for net in (moved, kept) for w in net.parameters()]
        step()
        after = [w for net in (moved, kept) for w in net.parameters()]
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        count = len(list(moved.parameters()))
        assert not any(same[:count]) and all(same[count:])
        assert game.steps == game.history[-1]['step'] == rounds


def test_every_setting_steers_the_game():
    def run(**settings):
        game = make_game()
        for name, value in settings.items():
            setattr(game, name, value)
        game.step(3)
        return weights(game)

    plain = run()
    assert torch.equal(plain, run())
    changes = [{'lr_D': 0.01}, {'lr_G': 0.05}, {'d_steps': 3}, {'batch_size': 64}]
    changes += [{'loss': name} for name in list(LOSSES)[1:]]
    changes += [{'target': name} for name in TARGETS]
    for change in changes:
        assert not torch.allclose(plain, run(**change)), change


def test_without_steps_of_d_only_g_moves():
    game = make_game(d_steps=0)
    before = [w.clone() for w in game.net_D.parameters()]
    game.step(5)
    assert all(torch.equal(a, b) for a, b in zip(before, game.net_D.parameters(), strict=True))


def test_no_round_is_begun_after_the_time_is_up_and_one_is_always_played():
    game = make_game()
    game.step(1000, seconds=0)
    assert game.steps == 1


def test_somebody_may_watch_once_a_second_between_the_rounds(monkeypatch):
    game, seen, seconds = make_game(), [], itertools.count(step=0.4)
    monkeypatch.setattr(module.time, 'monotonic', lambda: next(seconds))
    game.step(10, watch=lambda: seen.append(game.steps))
    assert seen == [3, 6, 9]


class Moody(nn.Linear):
    """Does something else when it is called for the time `when`."""

    def __init__(self, when, action):
        super().__init__(2, 2)
        self.calls, self.when, self.action = 0, when, action

    def forward(self, Z):
        self.calls += 1
        if self.calls == self.when:
            self.action()
        return super().forward(Z)


def test_an_interrupted_game_stays_where_it_is():
    def interrupt():
        raise KeyboardInterrupt

    game = make_game(lambda: (linear_nets()[0], Moody(150, interrupt)))
    with pytest.raises(KeyboardInterrupt):
        game.step(1000)
    assert 10 < game.steps == game.history[-1]['step'] < 100
    game.step(3)
    assert game.steps == game.history[-1]['step']


# Losses, targets, distances -------------------------------------------------------------------


@pytest.mark.parametrize('loss', LOSSES)
def test_the_pull_goes_downhill_on_gs_loss(loss):
    game = make_game(loss=loss)
    game.step(20)
    X, fake_X, pull = game.points()
    assert X.shape == fake_X.shape == pull.shape == (200, 2)
    with torch.no_grad():
        real_Y = game.net_D(X)
        here, there = (
            LOSSES[loss].G(real_Y, game.net_D(places)) for places in (fake_X, fake_X + 1e-2 * pull)
        )
    assert there < here


@pytest.mark.parametrize('loss', LOSSES)
def test_the_opinion_is_ds_own_or_by_differences(loss):
    game = make_game(loss=loss)
    game.step(5)
    places, seen = torch.randn(50, 2), torch.randn(20, 2)
    with torch.no_grad():
        before = game.opinion(places, seen)
        logits, level = game.net_D(places), game.net_D(seen).mean()
        paired = LOSSES[loss].compares
        torch.testing.assert_close(before, torch.sigmoid(logits - level if paired else logits))
        game.net_D[-1].bias += 3
    assert torch.allclose(game.opinion(places, seen), before, atol=1e-5) == paired


def test_a_new_loss_and_a_new_target_are_one_entry_each(monkeypatch):
    """The recipe of CONTRIBUTING.md: hinge, and a cross."""
    hinge = Loss(
        'D stops where it is sure',
        D=lambda real_Y, fake_Y: ((1 - real_Y).relu() + (1 + fake_Y).relu()).mean() / 2,
        G=lambda real_Y, fake_Y: -fake_Y.mean(),
    )
    cross = Target('a cross', lambda n, random: torch.eye(2)[torch.arange(n) % 2])
    monkeypatch.setitem(LOSSES, 'a stranger', hinge)
    monkeypatch.setitem(TARGETS, 'a stranger', cross)
    game = make_game(loss='a stranger', target='a stranger')
    start = game.history[0]['loss_D']
    game.step(60)
    assert torch.equal(game.data[:2], torch.eye(2))
    assert game.history[-1]['loss_D'] != start
    assert game.diagnosis().verdict


@pytest.mark.slow
def test_the_chapters_recipe_arrives_at_its_gaussian():
    mean, cov = GAUSSIAN
    game = make_game(gaussian=(mean, cov))
    game.step(1500)
    assert game.history[-1]['KL'] < 0.5 < game.history[0]['KL']
    assert game.history[-1]['KL'] == pytest.approx(
        d2l.gaussian_kl(*d2l.linear_gaussian(game.net_G), mean, cov).item()
    )
    assert game.history[-1]['W2'] == pytest.approx(
        d2l.gaussian_w2(*d2l.linear_gaussian(game.net_G), mean, cov).item()
    )


def test_distances_are_estimated_where_g_is_not_linear():
    game = make_game(deep_nets, gaussian=GAUSSIAN)
    far = game.history[0]
    assert math.isfinite(far['KL']) and far['KL'] > 1 and far['W2'] > 1


def test_a_target_that_is_no_gaussian_is_not_measured_as_one():
    game = make_game(gaussian=GAUSSIAN, target='ring of eight')
    exact = d2l.gaussian_kl(*d2l.linear_gaussian(game.net_G), *GAUSSIAN).item()
    assert game.history[0]['KL'] != pytest.approx(exact, rel=1e-3)


def test_a_collapsed_linear_generator_is_infinitely_far_in_kl_and_does_not_stop_the_game():
    game = make_game(gaussian=GAUSSIAN, lr_D=1e-5, lr_G=1e-5)
    nn.init.zeros_(game.net_G[0].weight)
    game.step()
    assert game.history[-1]['KL'] > 5
    assert math.isfinite(game.history[-1]['W2'])


# Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('loss', LOSSES)
def test_a_game_resumed_from_the_past_runs_as_it_did(loss):
    game = make_game(loss=loss)
    game.step(60)
    game.step(40)
    end, records = weights(game), list(game.history)
    index = next(i for i, record in enumerate(records) if record['step'] == 60)
    game.go_to(index)
    assert game.steps == 60
    assert game.history == records  # looking back loses nothing
    game.step(40)
    assert torch.equal(weights(game), end)
    assert game.history == records


def test_stepping_from_the_past_overwrites_the_future():
    game = make_game()
    game.step(50)
    game.go_to(2)
    at = game.steps
    game.step(1)
    assert [record['step'] for record in game.history][-2:] == [at, at + 1]
    with pytest.raises(IndexError, match='record 99: there are 4'):
        game.go_to(99)


def test_going_back_brings_back_the_target():
    game = make_game()
    game.step(10)
    own, before = game.data, len(game.history) - 1
    game.target = 'two moons'
    assert not torch.equal(game.data[:400], own)
    game.step(10)
    game.go_to(before)
    assert game.target == 'your data'
    assert torch.equal(game.data, own)


@pytest.mark.slow
def test_a_long_game_is_remembered_in_bounded_memory():
    game = make_game()
    game.record.most = 20
    game.step(1000)
    steps = [record['step'] for record in game.history]
    assert len(steps) == len(game.record.states) <= 21
    assert (steps[0], steps[-1]) == (0, 1000)
    assert max(np.diff(steps)) <= 200
    assert make_game().record.most == 400
    assert 20 <= make_game(lambda: deep_nets(600)).record.most < 100


@pytest.mark.slow
def test_a_long_game_can_be_begun_again_from_its_start():
    game = make_game()
    game.record.most = 20
    game.step(500)
    assert game.record.every > 10
    for action in (game.step, game.step_D, lambda: setattr(game, 'target', 'two moons')):
        game.go_to(0)
        action()
        assert [len(game.history), game.record.at] == [2, 1]
    game.step(50)
    assert game.steps == game.history[-1]['step'] == 50


def test_looking_changes_nothing_in_batch_normalisation_or_dropout():
    def nets():
        net_D, net_G = deep_nets()
        net_G.insert(1, nn.BatchNorm1d(64))
        net_D.insert(2, nn.Dropout(0.3))
        net_D[0].weight.requires_grad_(False)
        return net_D, net_G

    game = make_game(nets)
    game.step(5)
    before = {k: v.clone() for k, v in game.net_G.state_dict().items()}
    looks = [(*game.points(), game.opinion(game.data, game.data)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*looks, strict=True))
    assert all(torch.equal(before[k], v) for k, v in game.net_G.state_dict().items())
    assert all(m.training for net in (game.net_D, game.net_G) for m in net.modules())


def test_the_classic_losses_show_d_no_real_points_in_gs_step():
    """Batch normalisation in D would take them in."""

    class Counting(nn.Linear):
        calls = 0

        def forward(self, X):
            self.calls += 1
            return super().forward(X)

    for loss, calls in (('non-saturating', 1), ('relativistic + R1', 2)):
        game = make_game(lambda: (Counting(2, 1), nn.Linear(2, 2)), loss=loss)
        watched = game.net_D
        watched.calls = 0
        game.step_G()
        assert watched.calls == calls + 2, loss  # and one look at real and fake for the record


@pytest.mark.slow
def test_the_diagnosis_forgets_another_target_and_what_is_long_ago(unmeasured):
    game = make_game()
    game.step(200)
    game.target = 'ring of eight'
    assert game.diagnosis().verdict == 'too early to say'
    assert '1 of the 5 records' in str(game.diagnosis())
    game.step(1000)
    assert game.diagnosis() == d2l.diagnose(game.history[-30:])


def test_numbers_that_overflow_are_named_with_the_way_out():
    game = make_game()
    game.step(10)
    with torch.no_grad():
        game.net_G[0].weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match='lower the learning rates, and go back in time'):
        game.step()
    game.go_to(-1)
    game.step()
    assert game.steps == game.history[-1]['step']


# Checks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'lr_D': 2.0}, 'lr_D must lie between 1e-05 and 0.316; got 2.0'),
        ({'lr_G': 0.0}, 'lr_G must lie between 1e-05 and 0.316; got 0.0'),
        ({'d_steps': 11}, 'd_steps must lie between 0 and 10; got 11'),
        ({'batch_size': 1}, 'batch_size must lie between 2 and 256; got 1'),
        ({'loss': 'wgan'}, "loss must be one of .*'saturating'.*; got 'wgan'"),
        ({'target': 'cat'}, "target must be one of .*'your data'.*'two moons'.*; got 'cat'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_changes_nothing(setting, message):
    with pytest.raises(ValueError, match=message):
        make_game(**setting)
    game = make_game()
    (name,) = setting
    before = getattr(game, name), len(game.history)
    with pytest.raises(ValueError, match=message):
        setattr(game, name, setting[name])
    assert (getattr(game, name), len(game.history)) == before
    game.step()


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
        d2l.Game(net_D, net_G, data)


# Collapse -------------------------------------------------------------------------------------


def modes(game):
    """How many of the ring's eight places hold at least 2 % of the generated points."""
    with torch.no_grad():
        fake = game.net_G(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)))
    angle = torch.arange(8) * math.pi / 4
    distance, index = torch.cdist(fake, 2 * torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    return int((torch.bincount(index[distance < 0.5], minlength=8) >= 20).sum())


@pytest.mark.slow
def test_a_gan_collapses_is_told_why_and_is_cured_with_one_setting(unmeasured):
    told, cured = [], []
    for init in range(3):
        game = make_game(deep_nets, init, lr_D=0.0001, lr_G=0.002, batch_size=64)
        game.target = 'ring of eight'
        game.step(600)
        assert modes(game) <= 2
        told.append('D is behind: raise its learning rate' in game.diagnosis().advice)
        game.lr_D = 0.003
        game.step(1500)
        cured.append(modes(game) >= 5)
    assert sum(told) == 3
    assert sum(cured) >= 2
