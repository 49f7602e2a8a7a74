"""Distances between the sets of all slices: FID and FRD."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from monai.utils import OptionalImportError

from miassr_monai.metrics import frd, frechet_distance, radiomics_features
from miassr_monai.networks import InceptionFeatures

__all__ = ["FeatureDistance", "feature_distances"]


@dataclass(frozen=True)
class FeatureDistance:
    """A distance between two sets of images.

    Attributes:
        extract: images ``(N, 1, H, W)`` in [0, 1] to features ``(N, F)``.
        distance: features of the truth and of a method to a number, 0 for equal sets.
    """

    extract: Callable[[torch.Tensor], np.ndarray | torch.Tensor]
    distance: Callable[[np.ndarray, np.ndarray], float]


def feature_distances(
    inception_path: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
    *,
    with_frd: bool = True,
) -> tuple[dict[str, FeatureDistance], dict[str, str]]:
    """The distances that can be had here, and for each of the others the reason why not.

    Args:
        inception_path: weights of the Inception-v3 of FID, see :class:`InceptionFeatures`.
        device: where Inception runs.
        with_frd: whether FRD, which takes long, is wanted.
    """
    distances, left_out = {}, {}
    if inception_path is None:
        left_out["fid"] = "no Inception-v3 weights were given (inception_path)"
    else:
        distances["fid"] = FeatureDistance(InceptionFeatures(inception_path).to(device), frechet_distance)
    if not with_frd:
        left_out["frd"] = "not asked for (with_frd)"
    else:
        try:
            radiomics_features(torch.rand(1, 1, 32, 32))
            distances["frd"] = FeatureDistance(radiomics_features, frd)
        except OptionalImportError as error:
            # MONAI adds a traceback and a link.
            left_out["frd"] = str(error).splitlines()[0]
    return distances, left_out
