"""What every test shares: waiting threads sleep soon (CONTRIBUTING.md, "Two at once"); sprites."""

import os

import pytest

# Before torch is loaded, which reads it then; processes that a test starts inherit it.
os.environ.setdefault('GOMP_SPINCOUNT', '1000')
os.environ.setdefault('TQDM_DISABLE', '1')  # as in `make store`: no progress bar is an output


@pytest.fixture(scope='session')
def sprites(tmp_path_factory):
    """Sprites in [-1, 1] with kinds and hues: 640 to train on, 640 fresh ones."""
    import torch
    import torchvision

    import d2l_gan as d2l

    sets = []
    for seed in (0, 1):
        folder = d2l.sprites(640, seed=seed, folder=tmp_path_factory.mktemp('s') / 'sprites')
        dataset = torchvision.datasets.ImageFolder(folder, torchvision.transforms.ToTensor())
        X = torch.stack([image for image, _ in dataset]) * 2 - 1
        kinds, hues = (torch.as_tensor(a) for a in d2l.sprite_labels(dataset.samples))
        sets.append((X, kinds, hues))
    return sets
