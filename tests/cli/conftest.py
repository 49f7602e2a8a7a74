import signal

import nibabel as nib
import numpy as np
import pytest
import torch
from make import small_generator

AFFINE = np.array([[0.0, -1.1, 0.0, 90.0], [0.9, 0.0, 0.0, -12.0], [0.0, 0.0, 3.0, 7.5], [0.0, 0.0, 0.0, 1.0]])
SIZE = (10, 9, 6)


@pytest.fixture(scope="session")
def write_volume():
    """Function that writes a NIfTI file, of random voxels unless they are given, and returns its path."""

    def write(path, data=None, affine=AFFINE, code=1):
        path.parent.mkdir(exist_ok=True, parents=True)
        image = nib.Nifti1Image(np.random.default_rng(0).random(SIZE, np.float32) if data is None else data, affine)
        image.set_sform(affine, code)
        image.set_qform(affine, code)
        nib.save(image, path)
        return path

    return write


@pytest.fixture(scope="session")
def files():
    """Function that names the files in a folder and its sub-folders, hidden ones too."""
    return lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, write_volume):
    """Folder to work in, with a volume ``in.nii.gz``."""
    write_volume(tmp_path / "in.nii.gz")
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def weights(folder):
    torch.manual_seed(0)
    torch.save(small_generator(depth=1, skip="bicubic").state_dict(), "weights.pt")
    return folder / "weights.pt"
