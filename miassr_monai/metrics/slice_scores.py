"""All measures of super-resolved slices that need no other slices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch.nn.functional import avg_pool2d

from miassr_monai.geometry import Scale, axis_scales
from miassr_monai.metrics.haarpsi import haar_similarity, pool_similarity
from miassr_monai.metrics.high_frequency import high_frequency_ratio

__all__ = ["SLICE_MEASURES", "slice_consistency", "slice_scores"]

# The names of the measures, in the order of tables.
SLICE_MEASURES = (
    "psnr",
    "ssim",
    "ms_ssim",
    "haarpsi",
    "psnr_foreground",
    "ssim_foreground",
    "haarpsi_foreground",
    "consistency",
    "high_frequency",
)
# Wang et al., IEEE Trans. Image Processing 2004.
WINDOW, WINDOW_SIGMA = 11, 1.5
# One for each level, each of half the last one's size.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
HAARPSI_SIZE = 16


def masked_mean(values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of ``(N, 1, H, W)`` over each image, ``(N,)``; NaN where the mask is empty."""
    if mask is None:
        return values.double().mean((1, 2, 3))
    return (values.double() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


def slice_psnr(prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Peak signal-to-noise ratio (dB, data range 1) of each slice; infinite without any error."""
    return -10.0 * masked_mean((prediction - truth).square(), mask).log10()


def ssim_maps(prediction: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Structural similarity, and its part of contrast and structure, of the pixels whose window fits."""
    # As channels of one image the slices take a fifth of the time that they take as a batch.
    channels = prediction.transpose(0, 1), truth.transpose(0, 1)
    maps = compute_ssim_and_cs(*channels, 2, (WINDOW, WINDOW), (WINDOW_SIGMA, WINDOW_SIGMA))
    similarity, contrast = (values.transpose(0, 1) for values in maps)
    return similarity, contrast


def ssim_scores(prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """SSIM over the image and, as the mean of its map, over the mask; and MS-SSIM (Wang et al., Asilomar 2003)."""
    undefined = truth.new_full((len(truth),), torch.nan)
    scores = {"ssim": undefined, "ssim_foreground": undefined, "ms_ssim": undefined}
    if min(truth.shape[2:]) < WINDOW:
        return scores
    similarity, contrast = ssim_maps(prediction, truth)
    edge = WINDOW // 2
    scores["ssim"] = masked_mean(similarity)
    scores["ssim_foreground"] = masked_mean(similarity, mask[..., edge:-edge, edge:-edge])
    if min(truth.shape[2:]) < WINDOW << (len(MS_SSIM_WEIGHTS) - 1):
        return scores
    result = torch.ones_like(scores["ssim"])
    for weight in MS_SSIM_WEIGHTS[:-1]:
        result *= masked_mean(contrast).clamp(min=0) ** weight
        prediction, truth = avg_pool2d(prediction, 2), avg_pool2d(truth, 2)
        similarity, contrast = ssim_maps(prediction, truth)
    scores["ms_ssim"] = result * masked_mean(similarity).clamp(min=0) ** MS_SSIM_WEIGHTS[-1]
    return scores


def haarpsi_scores(prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """HaarPSI over the image and over the mask."""
    if min(truth.shape[2:]) < HAARPSI_SIZE:
        undefined = truth.new_full((len(truth),), torch.nan)
        return {"haarpsi": undefined, "haarpsi_foreground": undefined}
    maps = haar_similarity(prediction, truth)
    return {"haarpsi": pool_similarity(*maps), "haarpsi_foreground": pool_similarity(*maps, mask=mask)}


def slice_consistency(
    prediction: torch.Tensor,
    image: torch.Tensor,
    scale: Scale,
    degradation: Callable[[torch.Tensor, Scale], torch.Tensor],
) -> torch.Tensor:
    """Root mean squared difference of each input to its prediction degraded again, as far as that reaches; 0 is best.

    Args:
        prediction: slices ``(N, 1, H, W)``, or volumes ``(N, 1, H, W, D)``.
        image: what the predictions were made from.
        scale: HR samples per LR sample, one number or one for each axis.
        degradation: a prediction and the scale to an LR image.

    Returns:
        ``(N,)`` in float64.
    """
    again = degradation(prediction, scale)
    residual = image[(..., *[slice(n) for n in again.shape[2:]])] - again
    return residual.double().square().flatten(1).mean(1).sqrt()


def slice_scores(
    prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor, scale: float | tuple[float, float]
) -> dict[str, torch.Tensor]:
    """Score super-resolved slices; the data range is 1.

    ``ms_ssim`` needs slices of at least 176 x 176 pixels, ``haarpsi`` of 16 x 16 and ``ssim`` of 11 x 11; NaN stands
    for what cannot be had.

    Args:
        prediction: ``(N, 1, H, W)``.
        truth: ``(N, 1, H, W)``.
        mask: foreground, boolean ``(N, 1, H, W)``.
        scale: HR samples per LR sample, or one for rows and one for columns.

    Returns:
        Each of :data:`SLICE_MEASURES` but ``consistency``, which is that of :func:`slice_consistency`; ``(N,)`` in
        float64: ``psnr`` (dB), ``ssim``, ``ms_ssim`` and ``haarpsi`` over the whole image, the first, second and fourth
        also over the foreground; ``high_frequency``, energy beyond the input's Nyquist frequency relative to the
        truth's, 1 is right.
    """
    scores = {
        "psnr": slice_psnr(prediction, truth),
        **ssim_scores(prediction, truth, mask),
        **haarpsi_scores(prediction, truth, mask),
        "psnr_foreground": slice_psnr(prediction, truth, mask),
        "high_frequency": high_frequency_ratio(prediction, truth, axis_scales(scale)),
    }
    return {name: scores[name].double() for name in SLICE_MEASURES if name in scores}
