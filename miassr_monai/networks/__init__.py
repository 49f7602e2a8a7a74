"""Networks: trunks, upscalers, generators of both, critic, and the bicubic and bilinear baselines."""

from miassr_monai.networks.critic import Critic
from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.grow import grow
from miassr_monai.networks.inception import InceptionFeatures
from miassr_monai.networks.interpolation import Bicubic, Linear
from miassr_monai.networks.network import Generator, Network, Trunk
from miassr_monai.networks.sub_pixel_generator import SubPixelGenerator
from miassr_monai.networks.trunks import EDSR, MDSR, RDN, RRDB, SPAN, ResCNN, SpaceToDepth, SRDenseNet, SRResNet
from miassr_monai.networks.upscalers import ImplicitUpscale, MetaUpscale, SubPixel
from miassr_monai.networks.vgg import VGG19Features
from miassr_monai.networks.volume_generator import VolumeGenerator
from miassr_monai.networks.weights import cpu_weights, load_critic, load_network, load_weights

__all__ = [
    "EDSR",
    "MDSR",
    "RDN",
    "RRDB",
    "SPAN",
    "Bicubic",
    "Critic",
    "Generator",
    "ImplicitUpscale",
    "InceptionFeatures",
    "Linear",
    "MetaSRGenerator",
    "MetaUpscale",
    "Network",
    "ResCNN",
    "SRDenseNet",
    "SRResNet",
    "SpaceToDepth",
    "SubPixel",
    "SubPixelGenerator",
    "Trunk",
    "VGG19Features",
    "VolumeGenerator",
    "cpu_weights",
    "grow",
    "load_critic",
    "load_network",
    "load_weights",
]
