"""What the slices of a scan are: how thick, how far apart, and how they see what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monai.data import MetaTensor

from miassr_monai.adaptation import estimate_slice_thickness
from miassr_monai.degradations import Degradation, parse_degradation

__all__ = ["ESTIMATE", "GIVEN", "NOT_KNOWN", "OF_THE_FILE", "SliceModel", "make_slice_model"]

# Where a thickness is from.
GIVEN, ESTIMATE, OF_THE_FILE, NOT_KNOWN = "given", "estimate", "file", "spacing"


@dataclass(frozen=True)
class SliceModel:
    """The slices of a scan.

    Attributes:
        thickness: of a slice, in mm.
        spacing: between the centres of slices, in mm: with gaps between them it is larger than the thickness, with
            overlaps smaller.
        profile: ``"gaussian"``, whose full width at half maximum is the thickness, ``"box"`` or ``"rf"``, see
            :func:`miassr_monai.degradations.slice_profile_degradation`.
        source: of the thickness: ``"given"``, ``"estimate"``, ``"file"``, or ``"spacing"`` where nobody knows it.
    """

    thickness: float
    spacing: float
    profile: str = "gaussian"
    source: str = NOT_KNOWN

    @property
    def degradation(self) -> Degradation:
        """What makes such slices of a fine volume, along its last axis at scale ``spacing / fine spacing``."""
        return parse_degradation("slice_profile", profile=self.profile, thickness=self.thickness / self.spacing)

    def described(self) -> dict[str, Any]:
        """For a report: the attributes, and the ``gap`` between slices in mm, which is negative where they overlap."""
        return {**asdict(self), "gap": self.spacing - self.thickness}


def make_slice_model(
    image: MetaTensor,
    spacing: Sequence[float],
    slice_axis: int,
    *,
    thickness: float | str | None = None,
    profile: str = "gaussian",
) -> SliceModel:
    """The slices of an image.

    Args:
        image: ``(C, h, w, d)``; ``slice_thickness`` of its ``meta`` is the thickness in mm, as
            :func:`miassr_monai.data.load_volume` finds it.
        spacing: of its axes, in mm.
        slice_axis: spatial axis across the slices.
        thickness: in mm, or ``"estimate"``, see :func:`miassr_monai.adaptation.estimate_slice_thickness`; it goes
            before that of ``meta``. Where neither is known it is the distance between slices.
        profile: see :class:`SliceModel`.

    Raises:
        ValueError: when there is no such profile, or the thickness is not within a tenth of the distance and four times
            that, or cannot be estimated.
    """
    distance = spacing[slice_axis]
    if thickness == ESTIMATE:
        found, source = estimate_slice_thickness(image.as_tensor(), spacing, slice_axis, profile), ESTIMATE
    elif thickness is not None:
        found, source = float(thickness), GIVEN
    elif "slice_thickness" in image.meta:
        found, source = float(image.meta["slice_thickness"]), OF_THE_FILE
    else:
        found, source = distance, NOT_KNOWN
    model = SliceModel(found, distance, profile, source)
    try:
        _ = model.degradation
    except ValueError as error:
        raise ValueError(
            f"slices {found:.4g} mm thick, {distance:.4g} mm apart, with the profile {profile!r} are not worked on "
            f"({error}): give another thickness or profile."
        ) from error
    return model
