"""Adaptation of a network to one scan, by the scan's own slices."""

from miassr_monai.adaptation.adapt import Adaptation, adapt
from miassr_monai.adaptation.corrected_inferer import CorrectedInferer
from miassr_monai.adaptation.slice_pairs import SlicePairs, in_whole_pixels, split_slices
from miassr_monai.adaptation.slice_thickness import estimate_slice_thickness

__all__ = [
    "Adaptation",
    "CorrectedInferer",
    "SlicePairs",
    "adapt",
    "estimate_slice_thickness",
    "in_whole_pixels",
    "split_slices",
]
