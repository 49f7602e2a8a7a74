"""Losses: adversarial ones of several kinds, perceptual, and joint."""

from miassr_monai.losses.adversarial import AdversarialLoss
from miassr_monai.losses.critic_features import CriticFeatureLoss
from miassr_monai.losses.gradient_penalty import gradient_penalty, zero_centred_penalty
from miassr_monai.losses.joint import JointLoss
from miassr_monai.losses.l1_ssim import L1SSIMLoss
from miassr_monai.losses.perceptual import VGGPerceptualLoss
from miassr_monai.losses.relativistic import RelativisticAverageGANLoss, RelativisticPairingGANLoss
from miassr_monai.losses.vanilla import VanillaGANLoss
from miassr_monai.losses.wasserstein import WassersteinClippingLoss, WassersteinGPLoss

__all__ = [
    "AdversarialLoss",
    "CriticFeatureLoss",
    "JointLoss",
    "L1SSIMLoss",
    "RelativisticAverageGANLoss",
    "RelativisticPairingGANLoss",
    "VGGPerceptualLoss",
    "VanillaGANLoss",
    "WassersteinClippingLoss",
    "WassersteinGPLoss",
    "gradient_penalty",
    "zero_centred_penalty",
]
