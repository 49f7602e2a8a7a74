"""Scan conversion of ultrasound: from beams to the picture of a sector, and back.

Beams fan out from an apex, at or above the top of the picture. Samples ``(depths, beams)`` fill the sector from face to
face: depth ``i`` has the radius ``near + (i + 1/2) (far - near) / depths``, and beam ``j`` the angle
``first + (j + 1/2) (last - first) / beams``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch.nn import functional

__all__ = ["Sector", "find_sector", "from_beams", "to_beams"]

# Rows of a sector's sides that are left out at either end, where they meet the arcs, and rows that are needed.
TRIMMED = 0.1
MIN_ROWS = 16
# Pixels by which a row's outermost pixel may lie inside the line of a side.
MAX_INWARDS = 1.5
# Sides that meet under less than this (degrees) are those of a linear transducer.
MIN_OPENING = 5.0
# Part of the largest value up to which a pixel is dark: networks do not make an exact zero.
DARK = 0.02
# Beams whose ends are looked for.
BEAMS = 32


@dataclass(frozen=True)
class Sector:
    """Where the beams of a picture are.

    Args:
        row: of the apex, in pixels.
        column: of the apex.
        near: distance of the first samples from the apex, in pixels.
        far: that of the last ones.
        first: angle of the leftmost beam, in degrees from straight down; to the right positive.
        last: that of the rightmost.

    Raises:
        ValueError: when the radii or the angles are not in their order.
    """

    row: float
    column: float
    near: float
    far: float
    first: float
    last: float

    def __post_init__(self) -> None:
        if not (0 <= self.near < self.far and -90 < self.first < self.last < 90):
            raise ValueError(
                "a sector has a row and a column, two radii of at least 0 and two angles between -90 and 90 degrees, "
                f"the smaller ones first, got {astuple(self)}."
            )

    @property
    def size(self) -> tuple[int, int]:
        """Depths and beams of which there is one for each pixel, where they are farthest apart."""
        return math.ceil(self.far - self.near), math.ceil(math.radians(self.last - self.first) * self.far)


def to_beams(image: torch.Tensor, sector: Sector) -> torch.Tensor:
    """Beams ``(..., depths, beams)`` of a picture ``(..., H, W)``, as many as :attr:`Sector.size` says; bicubic."""
    depths, beams = sector.size
    radius = sector.near + (torch.arange(depths, dtype=torch.float64) + 0.5) * (sector.far - sector.near) / depths
    angle = sector.first + (torch.arange(beams, dtype=torch.float64) + 0.5) * (sector.last - sector.first) / beams
    angle = torch.deg2rad(angle)
    rows = sector.row + torch.outer(radius, torch.cos(angle))
    return sampled(image, rows, sector.column + torch.outer(radius, torch.sin(angle)))


def from_beams(beams: torch.Tensor, sector: Sector, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture ``(..., H, W)`` of beams ``(..., depths, beams)``, bicubic, and where in it ``(H, W)`` the sector is."""
    row = torch.arange(size[0], dtype=torch.float64).unsqueeze(1) - sector.row
    column = torch.arange(size[1], dtype=torch.float64) - sector.column
    radius, angle = torch.hypot(row, column), torch.rad2deg(torch.atan2(column, row))
    inside = (radius >= sector.near) & (radius <= sector.far) & (angle >= sector.first) & (angle <= sector.last)
    depth = (radius - sector.near) / (sector.far - sector.near) * beams.size(-2) - 0.5
    beam = (angle - sector.first) / (sector.last - sector.first) * beams.size(-1) - 0.5
    return sampled(beams, depth, beam), inside.to(beams.device)


def sampled(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Bicubic interpolation of ``(..., H, W)`` at coordinates ``(h, w)``, the border repeated."""
    data = image if image.is_floating_point() else image.float()
    height, width = image.shape[-2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1).to(data)
    made = functional.grid_sample(
        data.reshape(1, -1, height, width), grid.unsqueeze(0), "bicubic", "border", align_corners=False
    )
    return made.view(*image.shape[:-2], *rows.shape)


def find_sector(image: torch.Tensor) -> Sector:
    """The sector of a picture that is dark outside.

    From the first row with anything in it down to the row where it reaches farthest to a side, the outermost pixels lie
    on that side of the sector, but for dark tissue, where they lie farther in. The lines through both meet at the apex.

    Args:
        image: ``(..., H, W)``; of several pictures one sector.

    Raises:
        ValueError: when what is not dark is no sector, as in pictures of linear transducers.
    """
    mask = (image > DARK * image.amax()).reshape(-1, *image.shape[-2:]).any(0).cpu().numpy()
    rows = np.flatnonzero(mask.any(1))
    left = rows, mask[rows].argmax(1)
    right = rows, mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    # A pixel reaches half a step beyond its centre.
    sides = [side_line(*left, face=-0.5), side_line(*right, face=0.5)]
    angles = [math.atan(slope) for slope, _ in sides]
    if not math.degrees(angles[1] - angles[0]) > MIN_OPENING:
        raise ValueError("there is no sector in the image: give it, or take the columns as beams.")
    (first, at_first), (last, at_last) = sides
    apex_row = (at_first - at_last) / (last - first)
    apex_column = at_first + first * apex_row
    row, column = np.nonzero(mask)
    radius, angle = np.hypot(row - apex_row, column - apex_column), np.arctan2(column - apex_column, row - apex_row)
    # Their median outvotes dark tissue at the ends of beams.
    beam = np.digitize(angle, np.linspace(angles[0], angles[1], BEAMS + 1)) - 1
    ends = [(radius[beam == j].min(), radius[beam == j].max()) for j in range(BEAMS) if (beam == j).any()]
    near, far = np.median(ends, axis=0)
    first_angle, last_angle = (math.degrees(a) for a in angles)
    return Sector(
        float(apex_row), float(apex_column), max(0.0, float(near) - 0.5), float(far) + 0.5, first_angle, last_angle
    )


def side_line(rows: np.ndarray, columns: np.ndarray, face: float) -> tuple[float, float]:
    """Slope and column at row 0 of a side, from the outermost pixel of each row; NaN where it is too short.

    Rows whose pixel lies inside the line are left out, until none does.

    Args:
        rows: with anything in them.
        columns: of the outermost pixels.
        face: from a pixel's centre to its outer face.
    """
    outwards = columns * np.sign(face)
    count = int(outwards.argmax()) + 1 if len(rows) else 0
    trimmed = slice(round(TRIMMED * count), round((1 - TRIMMED) * count))
    rows, columns = rows[trimmed], columns[trimmed]
    while len(rows) >= MIN_ROWS:
        slope, at_zero = np.polyfit(rows, columns + face, 1)
        inwards = (slope * rows + at_zero - columns - face) * np.sign(face)
        if inwards.max() < MAX_INWARDS:
            return float(slope), float(at_zero)
        rows, columns = rows[inwards < MAX_INWARDS], columns[inwards < MAX_INWARDS]
    return math.nan, math.nan
