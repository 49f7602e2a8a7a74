"""Fréchet radiomics distance, by the package ``frd-score``."""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from monai.utils import optional_import

__all__ = ["frd", "radiomics_features"]

# Both packages are imported where they are used: frd_score sets the backend of Matplotlib, which no plain import of the
# metrics should.
INSTALL = (
    "the Fréchet radiomics distance needs frd-score and pyradiomics: "
    'install them with `pip install "miassr-monai[eval]"`'
)


def radiomics_features(images: torch.Tensor, *, workers: int = 1) -> np.ndarray:
    """Radiomics features of images by ``frd_score``, with its defaults for images of two axes: version 1, no mask.

    The library reads files only. The images go through a temporary folder, with 8 bits as in the PNGs that the distance
    is defined on: without rounding, a background of almost 0 instead of 0 outweighs all else.

    Args:
        images: ``(N, 1, H, W)`` with values in [0, 1]; others are clipped, as an image file clips them.
        workers: processes that extract features at the same time.

    Returns:
        ``(N, F)`` float64: features of the image and its filtered versions, each in a unit of its own.

    Raises:
        OptionalImportError: when ``frd_score`` or ``radiomics`` cannot be imported.
        ValueError: when the shape is another, or an image is constant, which has no texture, or has NaNs.
    """
    if images.ndim != 4 or images.shape[1] != 1 or len(images) == 0:
        raise ValueError(f"radiomics features were asked of images of shape {tuple(images.shape)}: give (N, 1, H, W).")
    pixels = (images.detach().cpu().float().clamp(0, 1)[:, 0] * 255).round().numpy()
    flat = [index for index, image in enumerate(pixels) if not image.max() > image.min()]
    if flat:
        raise ValueError(
            f"radiomics features were asked of images that are constant or have NaNs, at index {flat}: leave them out."
        )
    library, _ = optional_import("frd_score.frd", descriptor=INSTALL)
    radiomics, _ = optional_import("radiomics", descriptor=INSTALL)
    simple_itk, _ = optional_import("SimpleITK", descriptor=INSTALL)
    # Without this each image gets lines about its co-occurrence matrix and about filters that it is too small for.
    radiomics.logger.setLevel(logging.ERROR)
    extractor = library.get_feature_extractor(image_dim=2)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f"{index}.mha")) for index in range(len(pixels))]
        for image, file in zip(pixels, files, strict=True):
            simple_itk.WriteImage(simple_itk.GetImageFromArray(image.astype(np.uint8)), file)
        features, _, _ = library.compute_features(files, extractor, num_workers=workers)
    return features


def frd(truth_features: np.ndarray, features: np.ndarray, *, rounding: float = 1e-9) -> float:
    """Fréchet radiomics distance (FRD; Konz et al., 2026) of two sets of :func:`radiomics_features`.

    The number that ``frd_score.compute_frd`` gives for the images with the true ones first: features are normalised by
    the mean and standard deviation of the truth's, those that are constant in the truth are left out, and the logarithm
    is that of the squared Fréchet distance. Here a feature that varies by rounding alone counts as constant, too: the
    median of a wavelet band in an image that is mostly background is 0 up to 1e-11, and would outweigh all else.

    Args:
        truth_features: features of the true images ``(N, F)``.
        features: features of the images to rate ``(M, F)``.
        rounding: standard deviation over the true images up to which a feature counts as constant; 0 gives the
            library's own number.

    Returns:
        Natural logarithm of the squared distance, without a unit; ``-inf`` for equal sets, up to rounding.

    Raises:
        OptionalImportError: when ``frd_score`` cannot be imported.
        ValueError: when the sets have different features, fewer than two samples without NaNs, or none that varies.
    """
    if truth_features.ndim != 2 or features.ndim != 2 or truth_features.shape[1] != features.shape[1]:
        raise ValueError(
            f"the FRD got features of shapes {truth_features.shape} and {features.shape}: give (N, F) and (M, F)."
        )
    sets = [rows[~np.isnan(rows).any(axis=1)] for rows in (truth_features, features)]
    if min(len(rows) for rows in sets) < 2:
        raise ValueError(
            f"the FRD got {len(sets[0])} true and {len(sets[1])} other samples without NaNs: give at least 2 of each."
        )
    varies = sets[0].std(axis=0) > rounding
    sets = [rows[:, varies].astype(np.float32) for rows in sets]
    library, _ = optional_import("frd_score.frd", descriptor=INSTALL)
    normalised = [
        library.z_score_normalize(rows, replace_nan=False, base_distribution=sets[0], handle_std_zero=False)
        for rows in sets
    ]
    finite = np.logical_and.reduce([np.isfinite(rows).all(axis=0) for rows in normalised])
    if not finite.any():
        raise ValueError("the FRD got true samples that are all the same: give different images.")
    moments = [(rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in (rows[:, finite] for rows in normalised)]
    squared = library.calculate_frechet_distance(*moments[0], *moments[1])
    return math.log(squared) if squared > 0 else -math.inf
