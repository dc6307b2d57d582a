"""The encoder on fresh sprites, and what its features are good for."""

import pytest
import torch
from torch import nn

import d2l_gan as d2l

pytestmark = pytest.mark.slow  # each of them trains one


@pytest.fixture(scope='module')
def encoder(sprites):
    X, kinds, hues = (torch.cat([a] * 4) for a in sprites[0])
    return d2l.train_encoder(X, kinds, hues)


def test_encoder_names_kind_and_hue_of_fresh_sprites(encoder, sprites):
    X, kinds, hues = sprites[1]
    right = encoder.cells(encoder.encode(X)) == 8 * kinds + hues
    assert right.double().mean() > 0.97


def test_encoder_is_deterministic_and_leaves_the_callers_randomness_alone(sprites):
    X, kinds, hues = (a[:128] for a in sprites[0])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (d2l.train_encoder(X, kinds, hues) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.encode(X), second.encode(X))


def test_sprite_encoder_is_kept_and_survives_a_damaged_file(sprites, tmp_path, monkeypatch):
    monkeypatch.setenv('D2L_GAN_DATA', str(tmp_path))
    X, kinds, hues = (a[:128] for a in sprites[0])
    first = d2l.sprite_encoder(X, kinds, hues).encode(X)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 500_000
    saved = path.stat().st_mtime_ns
    assert torch.equal(d2l.sprite_encoder(X, kinds, hues).encode(X), first)
    assert path.stat().st_mtime_ns == saved
    path.write_bytes(b'no weights')
    assert torch.equal(d2l.sprite_encoder(X, kinds, hues).encode(X), first)


@pytest.mark.parametrize('which', ['trained', 'random'])
def test_distance_grows_with_every_kind_of_damage(encoder, sprites, which):
    """Noise, missing kinds, one hue too many, a blur: each alone, and more of it is farther."""
    net = encoder if which == 'trained' else d2l.random_encoder()
    (X, kinds, hues), (fresh, _, _) = sprites
    real = net.encode(X)

    def distance(Y):
        return d2l.frechet_distance(real, net.encode(Y))

    floor = distance(fresh)
    noise = torch.randn_like(fresh)
    blurred = nn.functional.interpolate(nn.functional.avg_pool2d(fresh, 4), scale_factor=4)
    damages = {
        'noise': [fresh + a * noise for a in (0.2, 0.5)],
        'kinds': [X[kinds < 3], X[kinds < 1]],
        'hues': [X[hues < 4], X[hues < 1]],
        'blur': [(fresh + blurred) / 2, blurred],
    }
    for name, (less, more) in damages.items():
        assert floor < distance(less) < distance(more), name


def test_encode_goes_by_batches_and_is_the_forward_pass_written_out():
    torch.manual_seed(0)
    net = d2l.Encoder().eval()
    for norm in (block[1] for block in net.body):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    X = torch.rand(7, 3, 64, 64) * 2 - 1
    Y = X
    for conv, norm, _ in net.body:
        Y = nn.functional.conv2d(Y, conv.weight, stride=2, padding=1)
        mean, var = (v.reshape(-1, 1, 1) for v in (norm.running_mean, norm.running_var))
        Y = (Y - mean) / (var + 1e-5).sqrt()
        Y = torch.maximum(Y, 0.1 * Y)
    expected = Y.flatten(2).mean(2)
    assert expected.shape == (7, 64)
    for batch_size in (3, 7, 256):
        features = net.encode(X, batch_size)
        assert not features.requires_grad
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_cells_number_every_pair_of_kind_and_hue_once():
    """With heads that copy: feature i decides for kind i, feature 4 + j for hue j."""
    net = d2l.Encoder()
    num_kinds, num_hues = len(d2l.KINDS), len(d2l.HUES)
    with torch.no_grad():
        for head, first in ((net.kind, 0), (net.hue, num_kinds)):
            head.bias.zero_()
            head.weight.zero_()
            head.weight[:, first : first + len(head.weight)].fill_diagonal_(1)
    features = torch.zeros(num_kinds, num_hues, 64)
    for kind in range(num_kinds):
        for hue in range(num_hues):
            features[kind, hue, kind] = features[kind, hue, num_kinds + hue] = 1
    cells = net.cells(features.flatten(0, 1))
    assert cells.tolist() == list(range(num_kinds * num_hues)), 'kind by kind'


def test_random_encoder_repeats_and_keeps_the_size_of_signals():
    """He's variance for a leaky ReLU of slope 0.1: 2 / (1 + 0.1^2) / fan-in."""
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = d2l.random_encoder(), d2l.random_encoder(), d2l.random_encoder(1)
    assert torch.equal(torch.rand(1), expected), "the caller's randomness was touched"
    assert not first.training and not any(w.requires_grad for w in first.parameters())
    for block, same, another in zip(first.body, again.body, other.body, strict=True):
        weight = block[0].weight
        assert torch.equal(weight, same[0].weight) and not torch.equal(weight, another[0].weight)
        fan_in = weight[0].numel()
        assert (weight.var() * fan_in).item() == pytest.approx(2 / 1.01, rel=0.15)
