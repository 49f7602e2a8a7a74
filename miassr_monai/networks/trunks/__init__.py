"""Trunks: features of an image at its own resolution."""

from miassr_monai.networks.trunks.edsr import EDSR

__all__ = ["EDSR"]
