"""Trunks: features of an image at its own resolution."""

from miassr_monai.networks.trunks.edsr import EDSR
from miassr_monai.networks.trunks.srresnet import SRResNet

__all__ = ["EDSR", "SRResNet"]
