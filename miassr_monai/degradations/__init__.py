"""Degradations: how a high-resolution image becomes the low-resolution one of a scanner. Pure functions."""

from miassr_monai.degradations.antialiased_bicubic import antialiased_bicubic_degradation
from miassr_monai.degradations.area import area_degradation
from miassr_monai.degradations.degradation import (
    DEGRADATIONS,
    Degradation,
    named_degradations,
    parse_degradation,
)
from miassr_monai.degradations.kspace import kspace_degradation
from miassr_monai.degradations.noise import gaussian_noise, rician_noise, speckle_noise
from miassr_monai.degradations.pair import degraded_pair
from miassr_monai.degradations.paper import paper_degradation
from miassr_monai.degradations.psf import psf_degradation
from miassr_monai.degradations.radon import back_projection, filtered_back_projection, half_turn, radon
from miassr_monai.degradations.random import HELD_OUT, RandomDegradation
from miassr_monai.degradations.sampling import sampling_degradation
from miassr_monai.degradations.sharpen import sharpen
from miassr_monai.degradations.slice_profile import slice_profile_degradation
from miassr_monai.degradations.sparse_view_ct import ct_projections, sparse_view_ct_degradation
from miassr_monai.degradations.ultrasound import ultrasound_degradation
from miassr_monai.degradations.ultrasound_sector import ultrasound_sector_degradation
from miassr_monai.degradations.undersampled_kspace import undersampled_kspace_degradation

__all__ = [
    "DEGRADATIONS",
    "HELD_OUT",
    "Degradation",
    "RandomDegradation",
    "antialiased_bicubic_degradation",
    "area_degradation",
    "back_projection",
    "ct_projections",
    "degraded_pair",
    "filtered_back_projection",
    "gaussian_noise",
    "half_turn",
    "kspace_degradation",
    "named_degradations",
    "paper_degradation",
    "parse_degradation",
    "psf_degradation",
    "radon",
    "rician_noise",
    "sampling_degradation",
    "sharpen",
    "slice_profile_degradation",
    "sparse_view_ct_degradation",
    "speckle_noise",
    "ultrasound_degradation",
    "ultrasound_sector_degradation",
    "undersampled_kspace_degradation",
]
