"""Upscalers: an image at high resolution of features at low resolution."""

from miassr_monai.networks.upscalers.implicit import ImplicitUpscale
from miassr_monai.networks.upscalers.meta_upscale import MetaUpscale
from miassr_monai.networks.upscalers.sub_pixel import SubPixel

__all__ = ["ImplicitUpscale", "MetaUpscale", "SubPixel"]
