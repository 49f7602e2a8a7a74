"""Fréchet distance between two sets of features."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["frechet_distance"]


def mean_and_covariance_root(features: torch.Tensor | np.ndarray, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean ``(F,)`` of features ``(N, F)``, and a matrix ``R`` of at most ``F`` rows whose ``R^T R`` is the covariance.

    Raises:
        ValueError: when ``features`` are not two or more finite rows; ``name`` says in the message which they are.
    """
    features = torch.as_tensor(features, dtype=torch.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"the Fréchet distance got {name} of shape {tuple(features.shape)}: give (N, F) with an N of at least 2."
        )
    if not features.isfinite().all():
        raise ValueError(
            f"the Fréchet distance got {name} with values that are not finite: look for what made them in the images "
            "that they come from."
        )
    mean = features.mean(0)
    return mean, torch.linalg.qr(features - mean, mode="r").R / (len(features) - 1) ** 0.5


def frechet_distance(a: torch.Tensor | np.ndarray, b: torch.Tensor | np.ndarray) -> float:
    r"""Squared Fréchet distance between Gaussians fitted to two sets of features, in float64.

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}(C_a + C_b - 2 (C_a C_b)^{1/2})

    with means and unbiased covariances (Dowson & Landau 1982). Of Inception's features it is the FID (Heusel et al.,
    NeurIPS 2017). Sets of fewer samples than features are fine: no square root of a singular matrix is taken.

    Args:
        a: features ``(N, F)``.
        b: features ``(M, F)``.

    Returns:
        The squared distance, in squared units of the features.

    Raises:
        ValueError: when a set has fewer than two samples or values that are not finite, or when ``F`` differs.
    """
    mean_a, root_a = mean_and_covariance_root(a, "a")
    mean_b, root_b = mean_and_covariance_root(b, "b")
    if len(mean_a) != len(mean_b):
        raise ValueError(
            f"the Fréchet distance got {len(mean_a)} and {len(mean_b)} features per sample: take both from one network."
        )
    # The eigenvalues of C_a C_b other than 0 are the squared singular values of root_a root_b^T.
    trace = torch.linalg.svdvals(root_a @ root_b.mT).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * trace
    # Rounding can take the distance of equal sets below 0.
    return distance.clamp(min=0).item()
