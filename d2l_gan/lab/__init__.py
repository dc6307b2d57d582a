"""Widgets to play with: a GAN on points (chapter 1); shapes, latent space, a run (chapter 2)."""

from d2l_gan.lab.explore import LatentExplorer, LeakyReLULab, ShapeLab, TimeMachine
from d2l_gan.lab.game import LOSSES, GANLab
from d2l_gan.lab.targets import GAUSSIAN, TARGETS

__all__ = [
    'GAUSSIAN',
    'LOSSES',
    'TARGETS',
    'GANLab',
    'LatentExplorer',
    'LeakyReLULab',
    'ShapeLab',
    'TimeMachine',
]
