"""Losses of the adversarial stage."""

from miassr_monai.losses.critic_features import CriticFeatureLoss
from miassr_monai.losses.joint import JointLoss
from miassr_monai.losses.l1_ssim import L1SSIMLoss
from miassr_monai.losses.perceptual import VGGPerceptualLoss
from miassr_monai.losses.wasserstein import WassersteinGPLoss, gradient_penalty

__all__ = ["CriticFeatureLoss", "JointLoss", "L1SSIMLoss", "VGGPerceptualLoss", "WassersteinGPLoss", "gradient_penalty"]
