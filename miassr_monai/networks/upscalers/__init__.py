"""Upscalers: an image at high resolution of features at low resolution."""

from miassr_monai.networks.upscalers.meta_upscale import MetaUpscale

__all__ = ["MetaUpscale"]
