"""What tests share: sprites, and a browser."""

import browser
import pytest


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


@pytest.fixture(scope='module')
def chromium():
    """A browser, or a skipped test; its loop runs in this module alone."""
    if browser.found() is None:
        pytest.skip(f'no browser found: install one of {", ".join(browser.NAMES)}')
    sync_playwright = pytest.importorskip('playwright.sync_api').sync_playwright
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser.found(), args=browser.ARGUMENTS
        )
        yield running
        running.close()
