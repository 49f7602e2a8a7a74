"""HaarPSI: how alike two images look, judged by their Haar wavelet coefficients."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["haar_similarity", "haarpsi", "pool_similarity"]

# For grey values from 0 to 255; found best for medical images.
C, ALPHA = 5.0, 4.9


def haar_magnitudes(image: torch.Tensor, size: int) -> torch.Tensor:
    """Magnitudes of the Haar wavelet coefficients of one scale, at every pixel.

    Args:
        image: ``(N, 1, h, w)``.
        size: pixels along a side of the filter, ``2^j`` at scale ``j``.

    Returns:
        ``(N, 2, h, w)``: of the differences between rows, and between columns.
    """
    half = size // 2
    # Where the filter stands and what lies past the border decide the value near it: as in the authors' programs, the
    # filter reaches one pixel further after its own pixel than before, and all is zero outside.
    padded = F.pad(image, (half - 1, half, half - 1, half))
    rows = F.avg_pool2d(padded, (half, size), stride=1)
    columns = F.avg_pool2d(padded, (size, half), stride=1)
    differences = [rows[:, :, half:] - rows[:, :, :-half], columns[..., half:] - columns[..., :-half]]
    return half * torch.cat(differences, 1).abs()


def three_scales(image: torch.Tensor) -> list[torch.Tensor]:
    """Magnitudes ``(N, 2, ceil(H / 2), ceil(W / 2))`` of scales 1, 2 and 3 of an image ``(N, 1, H, W)`` in [0, 1]."""
    image = 255.0 * image.to(torch.float64)
    height, width = image.shape[2:]
    halved = F.avg_pool2d(F.pad(image, (0, width % 2, 0, height % 2)), 2)
    return [haar_magnitudes(halved, size) for size in (2, 4, 8)]


def haar_similarity(prediction: torch.Tensor, truth: torch.Tensor, c: float = C) -> tuple[torch.Tensor, torch.Tensor]:
    """What :func:`haarpsi` pools: the similarity of each pixel of the halved images and its weight.

    Returns:
        Similarity in [0, 1] and weight of at least 0, ``(N, 2, ceil(H / 2), ceil(W / 2))`` in float64.

    Raises:
        ValueError: see :func:`haarpsi`.
    """
    shape = tuple(prediction.shape)
    if shape != tuple(truth.shape) or len(shape) != 4 or shape[1] != 1 or min(shape[2:]) < 16:
        raise ValueError(
            f"HaarPSI compares images of shape {shape} and {tuple(truth.shape)}: give two of the same shape "
            "(N, 1, H, W), at least 16 x 16."
        )
    fine, middle, coarse = zip(three_scales(prediction), three_scales(truth), strict=True)
    similar = [(2 * a * b + c) / (a.square() + b.square() + c) for a, b in (fine, middle)]
    similarity = (similar[0] + similar[1]) / 2
    return similarity, torch.maximum(*coarse)


def pool_similarity(
    similarity: torch.Tensor, weight: torch.Tensor, *, alpha: float = ALPHA, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """HaarPSI ``(N,)`` of the maps that :func:`haar_similarity` gives; see :func:`haarpsi`."""
    if mask is not None:
        weight = weight * F.max_pool2d(mask.to(torch.float64), 2, ceil_mode=True)
    mean = (weight * torch.sigmoid(alpha * similarity)).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    return (torch.logit(mean) / alpha).square()


def haarpsi(
    prediction: torch.Tensor,
    truth: torch.Tensor,
    *,
    c: float = C,
    alpha: float = ALPHA,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Haar wavelet-based perceptual similarity index (Reisenhofer et al., Signal Process. Image Commun. 61, 2018) of
    grey images, with the constants of HaarPSI_MED (Karner et al., arXiv:2410.24098).

    ``(logit(sum w sigmoid(alpha S) / sum w) / alpha)^2`` over all pixels of the images halved by the mean of 2 x 2, and
    over both directions. Of the magnitudes ``a`` and ``b`` of the two images' coefficients, ``S`` is the mean of
    ``(2 a b + c) / (a^2 + b^2 + c)`` over scales 1 and 2, ``w`` the larger one at scale 3. An odd last row or column is
    halved with zeros.

    Args:
        prediction: images ``(N, 1, H, W)`` of range [0, 1], at least 16 x 16.
        truth: images of the same shape and range.
        c: constant of the similarity of two coefficients, for grey values from 0 to 255: 5 for medical images, 30 for
            photographs.
        alpha: steepness of the logistic function: 4.9 for medical images, 4.2 for photographs.
        mask: the foreground, bool ``(N, 1, H, W)``: only pixels of the halved image that hold some of it count, by
            coefficients that reach some 8 pixels beyond. ``None`` for all.

    Returns:
        ``(N,)`` in float64, in [0, 1]: 1 for equal images. NaN where no pixel counts: the mask is empty, or both images
        are flat in it.

    Raises:
        ValueError: when the images differ in shape, have another number of channels than one, or are too small.
    """
    return pool_similarity(*haar_similarity(prediction, truth, c), alpha=alpha, mask=mask)
