"""Widgets to play with: a GAN on points (chapter 1); shapes, latent space, a run (chapter 2)."""

from d2l_gan.lab.explore import LatentExplorer, LeakyReLULab, ShapeLab, TimeMachine
from d2l_gan.lab.page import GANLab

__all__ = ['GANLab', 'LatentExplorer', 'LeakyReLULab', 'ShapeLab', 'TimeMachine']
