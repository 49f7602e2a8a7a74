"""High-frequency ratio: how much of the detail that the LR grid cannot hold does a prediction have?"""

from __future__ import annotations

import torch

from miassr_monai.geometry import axis_scales, nearest_fraction

__all__ = ["high_frequency_ratio"]

# Rounding in float64 leaves an image without high frequencies some, of its energy about 1e-31; none is up to this.
ROUNDING = 1e-24


def beyond_nyquist(size: int, scale: float) -> torch.Tensor:
    """Which of the ``size`` frequencies of an axis, in the order of the FFT, the LR grid cannot hold: bool ``(size,)``.

    Frequency ``k`` is of ``k / size`` cycles per HR pixel, the LR grid's Nyquist frequency ``1 / (2 scale)``.
    """
    p, q = nearest_fraction(scale)
    index = torch.arange(size)
    return 2 * p * torch.minimum(index, size - index) > q * size


def energy_beyond_nyquist(image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
    """Energy ``(N,)`` of images ``(N, 1, H, W)`` at the frequencies that the LR grid cannot hold; 0 where there is none
    but rounding."""
    height, width = image.shape[2:]
    image = image.to(torch.float64)
    window = [torch.hann_window(size, dtype=torch.float64, device=image.device) for size in (height, width)]
    centred = image - image.mean((2, 3), keepdim=True)
    power = torch.fft.rfft2(centred * torch.outer(*window)).abs().square()
    row_scale, column_scale = axis_scales(scale)
    kept = width // 2 + 1
    beyond = beyond_nyquist(height, row_scale).unsqueeze(1) | beyond_nyquist(width, column_scale)[:kept]
    # The half of the spectrum that a real image does not need mirrors all columns but those that are their own mirror.
    column = torch.arange(kept)
    count = torch.where((column == 0) | (2 * column == width), 1.0, 2.0)
    energy = (power * (beyond * count).to(power)).sum((1, 2, 3))
    rounding = ROUNDING * height * width * image.square().sum((1, 2, 3))
    return torch.where(energy <= rounding, 0.0, energy)


def high_frequency_ratio(
    prediction: torch.Tensor, truth: torch.Tensor, scale: float | tuple[float, float]
) -> torch.Tensor:
    """Energy of a prediction beyond the LR image's Nyquist frequency, relative to the truth's.

    That is the energy of the frequencies above ``1 / (2 s)`` cycles per HR pixel along either axis, of the image less
    its mean, under a Hann window along both axes so that opposite borders do not meet in an edge. It tells how much
    detail there is, not whether it is the right one.

    Args:
        prediction: images ``(N, 1, H, W)``, of any range.
        truth: images of the same shape and range.
        scale: HR samples per LR sample, one or one for each axis.

    Returns:
        ``(N,)`` in float64, at least 0: 1 is right, below is too smooth, above too sharp or noisy. NaN where the truth
        has no such energy, as at scale 1.

    Raises:
        ValueError: when the images differ in shape, have another number of channels than one, or the scale is not a
            finite number in [1, 1024).
    """
    if prediction.shape != truth.shape or truth.dim() != 4 or truth.size(1) != 1:
        raise ValueError(
            f"the energy of images of shape {tuple(prediction.shape)} and {tuple(truth.shape)} is not compared: give "
            "two of the same shape (N, 1, H, W)."
        )
    found, expected = energy_beyond_nyquist(prediction, scale), energy_beyond_nyquist(truth, scale)
    return torch.where(expected > 0, found / expected, torch.nan)
