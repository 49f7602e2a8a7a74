"""Losses of the adversarial stage."""

from miassr_monai.losses.joint import JointLoss
from miassr_monai.losses.perceptual import VGGPerceptualLoss
from miassr_monai.losses.wasserstein import WassersteinGPLoss, gradient_penalty

__all__ = ["JointLoss", "VGGPerceptualLoss", "WassersteinGPLoss", "gradient_penalty"]
