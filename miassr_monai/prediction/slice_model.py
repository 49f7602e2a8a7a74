"""What the slices of a scan are: how thick, how far apart, and how they see what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from miassr_monai.degradations import Degradation, parse_degradation

__all__ = ["GIVEN", "NOT_KNOWN", "OF_THE_FILE", "SliceModel", "make_slice_model"]

# Where a thickness is from.
GIVEN, OF_THE_FILE, NOT_KNOWN = "given", "file", "spacing"


@dataclass(frozen=True)
class SliceModel:
    """The slices of a scan.

    Attributes:
        thickness: of a slice, in mm.
        spacing: between the centres of slices, in mm: with gaps between them it is larger than the thickness, with
            overlaps smaller.
        profile: ``"gaussian"``, whose full width at half maximum is the thickness, ``"box"`` or ``"rf"``, see
            :func:`miassr_monai.degradations.slice_profile_degradation`.
        source: of the thickness: ``"given"``, ``"file"``, or ``"spacing"`` where nobody knows it.
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
    meta: Mapping[str, Any], spacing: float, *, thickness: float | None = None, profile: str = "gaussian"
) -> SliceModel:
    """The slices of an image.

    Args:
        meta: of the image; ``slice_thickness`` is the thickness in mm, as :func:`miassr_monai.data.load_volume` finds
            it.
        spacing: between slices, in mm.
        thickness: in mm, which goes before that of ``meta``. Where neither is known it is the spacing.
        profile: see :class:`SliceModel`.

    Raises:
        ValueError: when there is no such profile, or the thickness is not within a tenth of the spacing and four times
            that.
    """
    if thickness is not None:
        found, source = float(thickness), GIVEN
    elif "slice_thickness" in meta:
        found, source = float(meta["slice_thickness"]), OF_THE_FILE
    else:
        found, source = spacing, NOT_KNOWN
    model = SliceModel(found, spacing, profile, source)
    try:
        _ = model.degradation
    except ValueError as error:
        raise ValueError(
            f"slices {found:.4g} mm thick, {spacing:.4g} mm apart, with the profile {profile!r} are not worked on "
            f"({error}): give another thickness or profile."
        ) from error
    return model
