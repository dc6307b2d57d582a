"""What the two GAN notebooks share: `import d2l_gan as d2l`."""

import importlib
from typing import Any

from matplotlib import pyplot as plt

from d2l_gan.batches import InMemory, get_dataloader_workers, load_array
from d2l_gan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from d2l_gan.creatures import HUES, KINDS
from d2l_gan.device import arange, matmul, mixed_precision, normal, numpy, seed_everything, tensor
from d2l_gan.device import try_gpu
from d2l_gan.diagnosis import Diagnosis, diagnose, observe
from d2l_gan.distances import (
    filled_cells,
    frechet_distance,
    gaussian_kl,
    gaussian_w2,
    linear_gaussian,
)
from d2l_gan.distances import nearest, precision_recall, sample_kl, sample_w2
from d2l_gan.download import DATA_HUB, DATA_URL, DownloadError, data_folder, download
from d2l_gan.download import download_extract
from d2l_gan.drawing import Animator, plot, rows_of_images, set_axes, set_figsize, show_images
from d2l_gan.drawing import show_rows, use_svg_display
from d2l_gan.encoder import Encoder, random_encoder, sprite_encoder, train_encoder
from d2l_gan.game import Game
from d2l_gan.losses import LOSSES, Loss, cross_entropy, non_saturating, pair_loss, r1_penalty
from d2l_gan.losses import saturating
from d2l_gan.sprites import sprite_labels, sprites
from d2l_gan.steps import blur, explain_misfit, he_init, update_D, update_G
from d2l_gan.targets import TARGETS, Target
from d2l_gan.timing import Accumulator, Timer, progress

WIDGETS = {'GANLab', 'LatentExplorer', 'LeakyReLULab', 'ShapeLab', 'TimeMachine'}
CLASSROOM = {'QuickQuestions', 'check', 'solved'}


def __getattr__(name: str) -> Any:
    """Load widgets and exercises when they are asked for: most who import the package need none."""
    for names, room in ((WIDGETS, 'lab'), (CLASSROOM, 'classroom')):
        if name in names:
            return getattr(importlib.import_module(f'd2l_gan.{room}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
