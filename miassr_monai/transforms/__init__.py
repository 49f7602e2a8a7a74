"""Transforms in array and dictionary form: cropping, normalisation, degradation, inversion."""

from miassr_monai.transforms.degrade import Degrade, Degraded
from miassr_monai.transforms.degrade_whole import DegradeWholed
from miassr_monai.transforms.downsample import Downsample, Downsampled
from miassr_monai.transforms.drop_empty_slices import DropEmptySlices, DropEmptySlicesd
from miassr_monai.transforms.gaussian_blur import GaussianBlur, GaussianBlurd, gaussian_blur
from miassr_monai.transforms.invert_on_fine_grid import InvertOnFineGridd
from miassr_monai.transforms.margin_crop import MarginCrop, MarginCropd
from miassr_monai.transforms.rand_slice_plane import RandSlicePlane, RandSlicePlaned
from miassr_monai.transforms.unit_range import ScaleToUnitRange, ScaleToUnitRanged

__all__ = [
    "Degrade",
    "DegradeWholed",
    "Degraded",
    "Downsample",
    "Downsampled",
    "DropEmptySlices",
    "DropEmptySlicesd",
    "GaussianBlur",
    "GaussianBlurd",
    "InvertOnFineGridd",
    "MarginCrop",
    "MarginCropd",
    "RandSlicePlane",
    "RandSlicePlaned",
    "ScaleToUnitRange",
    "ScaleToUnitRanged",
    "gaussian_blur",
]
