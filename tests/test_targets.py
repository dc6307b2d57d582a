"""The lab's targets: each is what it is called, and a Gaussian where it says so."""

import math

import pytest
import torch

from d2l_gan.targets import TARGETS


def draw(name, n=4000, seed=0):
    return TARGETS[name].draw(n, torch.Generator().manual_seed(seed))


def moons():
    angle = torch.linspace(0, math.pi, 200)
    one = torch.stack([angle.cos(), angle.sin()], 1)
    other = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return 1.5 * (torch.cat([one, other]) - torch.tensor([0.5, 0.25]))


def ring():
    angle = torch.arange(8) * math.pi / 4
    return 2 * torch.stack([angle.cos(), angle.sin()], 1)


PLACES = {  # where the points lie
    'ring of eight': ring(),
    '5 x 5 grid': torch.cartesian_prod(torch.arange(-2.0, 3), torch.arange(-2.0, 3)),
    'two moons': moons(),
}


@pytest.mark.parametrize('name', TARGETS)
def test_every_target_is_told_drawn_and_repeatable(name):
    assert TARGETS[name].words
    points = draw(name)
    assert points.shape == (4000, 2) and points.dtype == torch.float32
    assert torch.equal(points, draw(name))
    assert not torch.equal(points, draw(name, seed=1))
    assert points.abs().max() < 15  # the lab's plane
    assert (TARGETS[name].gaussian is not None) or name in PLACES, 'say in PLACES where it lies'


@pytest.mark.parametrize('name', PLACES)
def test_the_points_lie_where_they_should_and_nowhere_is_none(name):
    distance, index = torch.cdist(draw(name), PLACES[name]).min(1)
    assert distance.max() < 0.6 and distance.mean() < 0.2
    assert torch.bincount(index, minlength=len(PLACES[name])).min() > 0


@pytest.mark.parametrize('name', [name for name, target in TARGETS.items() if target.gaussian])
def test_a_gaussian_has_the_moments_that_it_names(name):
    mean, cov = TARGETS[name].gaussian
    points = draw(name, 40_000)
    torch.testing.assert_close(points.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(points.T.cov(), cov, atol=0.1, rtol=0)


@pytest.mark.parametrize(('name', 'scale'), [('ring of eight', 0.1), ('5 x 5 grid', 0.06)])
def test_clouds_are_as_wide_as_they_should_be_and_drawn_evenly(name, scale):
    points = draw(name, 20_000)
    index = torch.cdist(points, PLACES[name]).argmin(1)
    within = points - PLACES[name][index]
    torch.testing.assert_close(within.std(0), torch.full((2,), scale), rtol=0.05, atol=0)
    share = torch.bincount(index) / len(points) * len(PLACES[name])
    assert (share - 1).abs().max() < 0.2


def test_the_moons_are_drawn_evenly_from_both():
    """Their means follow from those of half a circle: 2 / pi above its centre."""
    points = draw('two moons', 40_000) / 1.5 + torch.tensor([0.5, 0.25])
    expected = torch.tensor([0.5, 0.25])  # of both moons, by the symmetry of the figure
    torch.testing.assert_close(points.mean(0), expected, atol=0.02, rtol=0)
    upper = points[points[:, 0] < -0.2]  # only the upper moon reaches so far
    assert len(upper) / len(points) == pytest.approx(math.acos(0.2) / math.pi / 2, abs=0.02)
    assert upper[:, 1].min() > -0.5
