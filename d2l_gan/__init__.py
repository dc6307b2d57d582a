"""What the two GAN notebooks share: `import d2l_gan as d2l`."""

import importlib

from matplotlib import pyplot as plt

from d2l_gan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from d2l_gan.data import (
    DATA_HUB,
    DATA_URL,
    DownloadError,
    InMemory,
    data_folder,
    download,
    download_extract,
    get_dataloader_workers,
    load_array,
)
from d2l_gan.device import (
    arange,
    matmul,
    mixed_precision,
    normal,
    numpy,
    seed_everything,
    tensor,
    try_gpu,
)
from d2l_gan.drawing import Animator, plot, set_axes, set_figsize, show_images, use_svg_display
from d2l_gan.measures import (
    Diagnosis,
    Encoder,
    coverage,
    diagnose,
    frechet_distance,
    gaussian_kl,
    gaussian_w2,
    linear_gaussian,
    nearest,
    non_saturating,
    observe,
    precision_recall,
    random_encoder,
    sample_kl,
    sample_w2,
    saturating,
    sprite_encoder,
    train_encoder,
)
from d2l_gan.sprites import HUES, KINDS, sprite_labels, sprites
from d2l_gan.steps import blur, explain_misfit, he_init, pair_loss, r1_penalty, update_D, update_G
from d2l_gan.timing import Accumulator, Timer

WIDGETS = {'GANLab', 'LatentExplorer', 'LeakyReLULab', 'ShapeLab', 'TimeMachine'}


def __getattr__(name: str):
    """Load the widgets when they are asked for: they take longer to import than all the rest."""
    if name in WIDGETS:
        return getattr(importlib.import_module('d2l_gan.lab'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
