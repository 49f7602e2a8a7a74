"""Networks: trunk, meta-upscale, generator, critic, and the bicubic and bilinear baselines."""

from miassr_monai.networks.bicubic import Bicubic
from miassr_monai.networks.critic import Critic
from miassr_monai.networks.edsr import EDSR
from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.grow import grow
from miassr_monai.networks.inception import InceptionFeatures
from miassr_monai.networks.linear import Linear
from miassr_monai.networks.load_weights import load_weights
from miassr_monai.networks.meta_upscale import MetaUpscale
from miassr_monai.networks.vgg import VGG19Features

__all__ = [
    "EDSR",
    "Bicubic",
    "Critic",
    "InceptionFeatures",
    "Linear",
    "MetaSRGenerator",
    "MetaUpscale",
    "VGG19Features",
    "grow",
    "load_weights",
]
