"""Data sets: lists of volumes, the sample data, batches of one scale."""

from miassr_monai.data.datalist import find_volumes, load_datalist
from miassr_monai.data.sample import write_sample
from miassr_monai.data.scale_batch import RandomScaleCollate, ScaleGridDataset, slices_collate

__all__ = ["RandomScaleCollate", "ScaleGridDataset", "find_volumes", "load_datalist", "slices_collate", "write_sample"]
