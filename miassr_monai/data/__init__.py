"""Data sets: lists of volumes, public and sample data, batches of one scale; reading and writing single volumes."""

from miassr_monai.data.channels import split_channels, stack_channels
from miassr_monai.data.datalist import files_of, find_volumes, load_datalist, write_datalist
from miassr_monai.data.load_volumed import LoadVolumed
from miassr_monai.data.public_data_sets import find_subjects
from miassr_monai.data.rank_sampler import RankSampler
from miassr_monai.data.sample import write_sample
from miassr_monai.data.save_volumed import SaveVolumed, without_results
from miassr_monai.data.scale_batch import (
    RandomScaleCollate,
    ScaleGridDataset,
    as_slices,
    slices_collate,
    volume_collate,
)
from miassr_monai.data.split import Subject, split_subjects
from miassr_monai.data.subjects import check_disjoint, subject_of
from miassr_monai.data.volume import load_volume, save_volume
from miassr_monai.data.workers import start_worker
from miassr_monai.volume_files import VolumeError, check_output

__all__ = [
    "LoadVolumed",
    "RandomScaleCollate",
    "RankSampler",
    "SaveVolumed",
    "ScaleGridDataset",
    "Subject",
    "VolumeError",
    "as_slices",
    "check_disjoint",
    "check_output",
    "files_of",
    "find_subjects",
    "find_volumes",
    "load_datalist",
    "load_volume",
    "save_volume",
    "slices_collate",
    "split_channels",
    "split_subjects",
    "stack_channels",
    "start_worker",
    "subject_of",
    "volume_collate",
    "without_results",
    "write_datalist",
    "write_sample",
]
