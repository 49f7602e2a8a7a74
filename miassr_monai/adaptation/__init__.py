"""Adaptation of a network to one scan, by the scan's own slices."""

from miassr_monai.adaptation.adapt import Adaptation, adapt
from miassr_monai.adaptation.slice_pairs import SlicePairs, noise_level, split_slices

__all__ = ["Adaptation", "SlicePairs", "adapt", "noise_level", "split_slices"]
