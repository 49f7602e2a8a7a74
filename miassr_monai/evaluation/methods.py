"""What the methods of an evaluation can do."""

from __future__ import annotations

from collections.abc import Mapping

from miassr_monai.geometry import Scale, format_scale, nearest_fraction, scale_per_axis
from miassr_monai.prediction import TrainedModel

__all__ = ["check_scale", "evaluated_scale", "spatial_dims_of"]

SEEN = {2: "slices", 3: "volumes"}


def spatial_dims_of(models: Mapping[str, TrainedModel]) -> int:
    """What the networks of an evaluation see: 2 for slices, 3 for volumes.

    Raises:
        ValueError: when some see slices and some volumes, whose low-resolution images differ.
    """
    seen = {getattr(model.network, "spatial_dims", 2): name for name, model in models.items()}
    if len(seen) > 1:
        told = " and ".join(f"{name!r} sees {SEEN[dims]}" for dims, name in sorted(seen.items()))
        raise ValueError(f"{told}, which are not degraded alike: evaluate them apart.")
    return next(iter(seen))


def evaluated_scale(scale: Scale, spatial_dims: int) -> float | tuple[float, ...]:
    """A scale of the axes that networks see: one number where these are equal, else one for each.

    Three numbers are of the axes of a volume, of which slices have the first two.

    Raises:
        ValueError: when it has another number of axes, or slices cannot have it.
    """
    if spatial_dims == 2 and isinstance(scale, (list, tuple)) and len(scale) == 3:
        if scale[2] != 1:
            raise ValueError(
                f"the scale {format_scale(scale)} goes across the slices, and these networks see slices: give the "
                "scales of the two axes of a slice, and turn the volume (axcodes) if other slices are meant."
            )
        scale = scale[:2]
    values = scale_per_axis(scale, spatial_dims)
    for value in values:
        nearest_fraction(value)
    return float(values[0]) if len(set(values)) == 1 else tuple(float(value) for value in values)


def check_scale(models: Mapping[str, TrainedModel], scale: Scale) -> None:
    """Check that every method can do a scale.

    Raises:
        ValueError: when one cannot.
    """
    scales = [scale] if isinstance(scale, float) else list(scale)
    for name, model in models.items():
        largest = getattr(model.network, "max_scale", float("inf"))
        if max(scales) > largest:
            raise ValueError(
                f"the method {name!r} can do scales up to {largest:g} only, not {format_scale(scale)}: leave the scale "
                "or the method out."
            )
        if len(scales) > 1 and not getattr(model.network, "anisotropic", False):
            raise ValueError(
                f"the method {name!r} cannot do a scale such as {format_scale(scale)}, of another size along each "
                "axis: leave the scale or the method out."
            )
