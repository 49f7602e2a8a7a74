"""Transforms in array and dictionary form: cropping, normalisation, degradation, inversion."""

from miassr_monai.transforms.downsample import Degradation, Degradationd, Downsample, Downsampled
from miassr_monai.transforms.drop_empty_slices import DropEmptySlices, DropEmptySlicesd
from miassr_monai.transforms.gaussian_blur import GaussianBlur, GaussianBlurd, gaussian_blur
from miassr_monai.transforms.invert_on_fine_grid import InvertOnFineGridd
from miassr_monai.transforms.kspace_degradation import KSpaceDegradation, KSpaceDegradationd, kspace_degradation
from miassr_monai.transforms.margin_crop import MarginCrop, MarginCropd
from miassr_monai.transforms.paper_degradation import PaperDegradation, PaperDegradationd, paper_degradation
from miassr_monai.transforms.psf_degradation import PSFDegradation, PSFDegradationd, psf_degradation
from miassr_monai.transforms.rand_slice_plane import RandSlicePlane, RandSlicePlaned
from miassr_monai.transforms.random_degradation import RandomDegradation
from miassr_monai.transforms.unit_range import ScaleToUnitRange, ScaleToUnitRanged

__all__ = [
    "Degradation",
    "Degradationd",
    "Downsample",
    "Downsampled",
    "DropEmptySlices",
    "DropEmptySlicesd",
    "GaussianBlur",
    "GaussianBlurd",
    "InvertOnFineGridd",
    "KSpaceDegradation",
    "KSpaceDegradationd",
    "MarginCrop",
    "MarginCropd",
    "PSFDegradation",
    "PSFDegradationd",
    "PaperDegradation",
    "PaperDegradationd",
    "RandSlicePlane",
    "RandSlicePlaned",
    "RandomDegradation",
    "ScaleToUnitRange",
    "ScaleToUnitRanged",
    "gaussian_blur",
    "kspace_degradation",
    "paper_degradation",
    "psf_degradation",
]
