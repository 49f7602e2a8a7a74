"""Inference on whole slices and volumes, with the geometry of the output."""

from miassr_monai.inferers.super_resolution_inferer import SuperResolutionInferer
from miassr_monai.inferers.tiles import Tile, cut_tiles

__all__ = ["SuperResolutionInferer", "Tile", "cut_tiles"]
