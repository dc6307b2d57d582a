"""The widgets of chapter 2, without a browser."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import d2l_gan as d2l


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert('RGB')).astype(int)


def generator(latent_dim=16):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose2d(latent_dim, 8, 16), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 4), nn.Tanh(),
    )  # fmt: skip


@pytest.fixture
def explorer():
    training = torch.rand(50, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return d2l.LatentExplorer(generator(), 16, training)


def make_each():
    return [
        d2l.ShapeLab(),
        d2l.LeakyReLULab(),
        d2l.LatentExplorer(generator(), 16),
        d2l.TimeMachine([torch.zeros(8, 3, 64, 64)] * 3),
    ]


def told(control):
    """Its tooltip, under the name that ipywidgets 8 or 7 has for it."""
    return getattr(control, 'tooltip', None) or getattr(control, 'description_tooltip', None)


def test_every_control_has_a_name_and_a_tooltip_and_a_still_picture_stands_in():
    for widget in make_each():
        for name, control in widget.controls.items():
            assert control.description and told(control), name
        assert told(widget.picture) or not widget.picture.has_trait('tooltip')  # ipywidgets 7
        bundle = widget._repr_mimebundle_()
        assert bundle['text/plain'] == type(widget).__name__
        size = picture(bundle['image/png']).shape
        layout = widget.picture.layout
        assert (f'{size[1]}px', f'{size[0]}px') == (layout.width, layout.height)


@pytest.mark.slow
@pytest.mark.parametrize('layer', ['convolution', 'transposed convolution'])
def test_the_formula_is_pytorchs_layer_for_every_setting(layer, monkeypatch):
    lab = d2l.ShapeLab()
    monkeypatch.setattr(lab.live, 'whole', lambda dpi: b'')  # only the formula
    lab.controls['layer'].value = layer
    checked = 0
    for n in (1, 4, 8, 15):
        for kernel in (1, 3, 4, 8):
            for stride in (1, 2, 4):
                for padding in (0, 1, 4):
                    settings = {'n': n, 'kernel': kernel, 'stride': stride, 'padding': padding}
                    for name, value in settings.items():
                        with lab.controls[name].hold_trait_notifications():
                            lab.controls[name].unobserve_all()
                            lab.controls[name].value = value
                    lab.update()
                    if lab.side < 1:
                        assert lab.layer_side in (None, 0)
                        assert 'nothing is left' in lab.text.value
                    else:
                        assert lab.layer_side == lab.side, settings
                        assert f"PyTorch's layer gives {lab.side}." in lab.text.value
                        checked += 1
    assert checked > 60


def test_the_shape_lab_draws_what_the_layer_connects():
    """One black line for each input that the chosen output really depends on."""
    lab = d2l.ShapeLab(n=8, kernel=4, stride=2, padding=1)
    black = [line for line in lab.fig.axes[0].lines if line.get_color() == 'black']
    reached = sorted(round(line.get_xdata()[1]) for line in black)
    layer = nn.Conv1d(1, 1, 4, 2, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x)[0, 0, 2], x)
    assert [i for i in reached if 0 <= i < 8] == slope[0, 0].nonzero().flatten().tolist()
    lab.controls['layer'].value = 'transposed convolution'
    black = [line for line in lab.fig.axes[0].lines if line.get_color() == 'black']
    reached = sorted(round(line.get_xdata()[1]) for line in black)
    layer = nn.ConvTranspose1d(1, 1, 4, 2, 1, bias=False)
    nn.init.ones_(layer.weight)
    one = torch.zeros(1, 1, 8)
    one[0, 0, 4] = 1
    assert [i for i in reached if 0 <= i < 16] == layer(one)[0, 0].nonzero().flatten().tolist()


def test_the_widgets_draw_no_random_numbers_of_yours():
    net_G = generator()
    state = torch.get_rng_state()
    d2l.ShapeLab().update()
    d2l.LatentExplorer(net_G, 16).surprise()
    assert torch.equal(torch.get_rng_state(), state)


def test_leaky_relu_and_its_gradient_follow_alpha():
    lab = d2l.LeakyReLULab()
    for alpha in (0.0, 0.4, 1.0):
        lab.controls['alpha'].value = alpha
        y, slope = (line.get_ydata() for line in lab.lines)
        left = lab.x.numpy() < 0
        np.testing.assert_allclose(y[left], alpha * lab.x.numpy()[left], atol=1e-6)
        np.testing.assert_allclose(slope[left], alpha, atol=1e-6)
        np.testing.assert_allclose(slope[lab.x.numpy() > 0], 1)
    assert 'can come back' in lab.text.value
    lab.controls['alpha'].value = 0
    assert 'dead' in lab.text.value


def test_the_walk_begins_and_ends_at_the_anchors(explorer):
    still = {'direction': 0, 'amount': 0.0, 'truncation': 1.0}
    for position, anchor in ((0.0, 0), (1.0, 1)):
        z = explorer.latent(position=position, **still)
        torch.testing.assert_close(z, explorer.anchors[anchor])
    moved = explorer.latent(position=0.0, direction=3, amount=2.0, truncation=0.5)
    expected = explorer.anchors[0].clone()
    expected[3] += 2
    torch.testing.assert_close(moved, expected / 2)


def test_the_walk_follows_the_arc_and_not_the_straight_line(explorer):
    """From (1, 0) to (0, 1) it is the circle; the chord's middle would have length 0.71."""
    explorer.anchors = torch.eye(16)[:2]
    still = {'direction': 0, 'amount': 0.0, 'truncation': 1.0}
    for position in (0.0, 0.25, 1 / 3, 0.5, 0.9):
        z = explorer.latent(position=position, **still)
        angle = torch.tensor(position * torch.pi / 2)
        torch.testing.assert_close(z[:2], torch.stack([angle.cos(), angle.sin()]))
        assert z[2:].abs().max() == 0
    explorer.anchors = torch.eye(16)[[0, 0]]  # both in one place: no arc, and no division by 0
    torch.testing.assert_close(explorer.latent(position=0.5, **still), torch.eye(16)[0])


def test_the_picture_is_what_the_generator_draws_and_leaves_it_as_it_was(explorer):
    assert explorer.net_G.training
    before = [b.clone() for b in explorer.net_G.buffers()]
    explorer.controls['position'].value = 0.5
    assert all(torch.equal(a, b) for a, b in zip(before, explorer.net_G.buffers(), strict=True))
    assert explorer.net_G.training
    seen = picture(explorer.picture.value)[:256:4, :256:4]
    drawn = (explorer.image.permute(1, 2, 0) * 127.5 + 127.5).round().numpy()
    assert np.abs(seen - drawn).max() <= 1


def test_each_control_changes_the_picture_within_a_tenth_of_a_second(explorer):
    earlier = picture(explorer.picture.value)
    for name, value in (('position', 0.3), ('amount', 3.0), ('direction', 5), ('truncation', 0.5)):
        start = time.perf_counter()
        explorer.controls[name].value = value
        seconds = time.perf_counter() - start
        now = picture(explorer.picture.value)
        assert (now != earlier).any(), name
        assert seconds < 0.1
        earlier = now
    explorer.controls['surprise'].click()
    assert (picture(explorer.picture.value) != earlier).any()


def test_nearest_training_images_are_the_nearest(explorer):
    explorer.training[17] = explorer.image + 0.001
    explorer.training[30] = explorer.image + 0.01
    explorer.controls['relatives'].click()
    beside = picture(explorer.picture.value)[:256, 288:544]
    twin = picture(explorer.picture.value)[:256:4, :256:4]
    assert np.abs(beside[:128:2, :128:2] - twin).max() <= 2
    assert np.abs(beside[:128:2, 128::2] - twin).max() <= 4
    explorer.controls['position'].value = 0.9
    assert (picture(explorer.picture.value)[:, 288:544] == 255).all()


def test_time_machine_shows_the_epoch_that_is_asked_for():
    snapshots = [torch.full((8, 3, 64, 64), level) for level in (-1.0, 0.0, 1.0)]
    machine = d2l.TimeMachine(snapshots)
    assert picture(machine.picture.value).mean() == 255
    machine.controls['epoch'].value = 1
    assert picture(machine.picture.value).mean() == 0
    assert 'after epoch 1 of 3' in machine.text.value


def test_an_error_is_shown_and_not_lost(explorer):
    explorer.net_G.forward = lambda Z: 1 / 0
    explorer.controls['position'].value = 0.7
    assert 'ZeroDivisionError' in explorer.text.value


def test_the_still_of_a_walk_shows_relatives_and_leaves_the_page_as_it_was():
    training = torch.rand(6, 3, 64, 64) * 2 - 1
    net_G = nn.Sequential(nn.ConvTranspose2d(16, 3, 64), nn.Tanh())
    explorer = d2l.LatentExplorer(net_G, 16, training)
    before = explorer.picture.value
    still = picture(explorer.still())
    assert (picture(before)[:, 288:544] == 255).all(), 'not asked for'
    assert (still[:, 288:544] != 255).any(axis=2).mean() > 0.9
    assert explorer.picture.value == before
    assert not explorer.wants_relatives
