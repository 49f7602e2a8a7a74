"""The sample data set: a brain that comes with nilearn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.utils import optional_import

from miassr_monai.data.datalist import DATALIST_NAME

__all__ = ["write_sample"]

load_template, _ = optional_import(
    "nilearn.datasets", name="load_mni152_template", descriptor="install it with `pip install miassr-monai[sample]`"
)

# Axial blocks (first slice, slice after the last) with gaps of at least 6 mm, so that no slice has a neighbour in
# another section. The template's brain lies in slices 0 to 154.
BLOCKS = {
    "training": ((20, 64), (86, 124)),
    "validation": ((130, 138),),
    "test": ((70, 80),),
}


def write_sample(folder: str | os.PathLike) -> Path:
    """Write the sample data set: axial blocks of the MNI152 2009a T1 template at 1 mm, with a datalist.

    The template is a real MR image, but the average of 152 brains: smoother than any one of them. It shows that a
    pipeline works, not how good a method is.

    Args:
        folder: where to write; files that are there already are kept.

    Returns:
        The folder.
    """
    folder = Path(folder)
    if (folder / DATALIST_NAME).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    template = load_template(resolution=1)
    data = np.asarray(template.dataobj, dtype=np.float32)
    sections: dict[str, list[dict[str, str]]] = {}
    for section, blocks in BLOCKS.items():
        sections[section] = []
        for first, after in blocks:
            name = f"mni152_t1_axial_{first}-{after - 1}.nii.gz"
            affine = template.slicer[:, :, first:after].affine
            nib.save(nib.Nifti1Image(data[:, :, first:after], affine), folder / name)
            sections[section].append({"image": name})
    (folder / DATALIST_NAME).write_text(json.dumps({"name": "MNI152 2009a T1, axial blocks", **sections}, indent=2))
    return folder
