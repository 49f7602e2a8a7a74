"""Adaptation of a network to one scan, by the scan's own slices."""

from miassr_monai.adaptation.adapt import Adaptation, adapt
from miassr_monai.adaptation.slice_pairs import SlicePairs, noise_level, split_slices
from miassr_monai.adaptation.slice_thickness import estimate_slice_thickness

__all__ = ["Adaptation", "SlicePairs", "adapt", "estimate_slice_thickness", "noise_level", "split_slices"]
