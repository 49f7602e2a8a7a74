"""Inference on whole slices and volumes, with the geometry of the output."""

from miassr_monai.inferers.super_resolution_inferer import SuperResolutionInferer

__all__ = ["SuperResolutionInferer"]
