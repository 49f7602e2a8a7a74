"""The overlays for CT and ultrasound, and those that train one part alone."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from miassr_monai.degradations import sparse_view_ct_degradation, ultrasound_degradation

CONFIGS = Path(__file__).parent.parent / "bundle" / "configs"


def configured(*overlays, **values):
    config = ConfigParser(ConfigParser.load_config_files([CONFIGS / f"{name}.json" for name in ("train", *overlays)]))
    config.update(values)
    return config


@pytest.fixture
def batch(tmp_path):
    """A batch of an overlay's training on one random volume, and that volume as it is cropped."""

    def make(overlay, size):
        (tmp_path / "training").mkdir()
        voxels = np.random.default_rng(0).uniform(-1000, 1000, size).astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "training" / "volume.nii")
        numbers = {"patch_size": 16, "batch_size": 4, "samples_per_volume": 4, "epoch_length": 1}
        config = configured(overlay, dataset_dir=str(tmp_path), bundle_root=".", **numbers)
        torch.manual_seed(0)
        config.get_parsed_content("train#preprocessing").set_random_state(0)
        made = next(iter(config.get_parsed_content("train#dataloader")))
        inputs, target, _, kwargs = config.get_parsed_content("prepare_batch")(made, torch.device("cpu"))
        return voxels, inputs, target, kwargs["scale"]

    return make


def test_patches_of_sparse_view_ct_are_parts_of_whole_slices_that_were_degraded(batch):
    voxels, inputs, target, scale = batch("sparse_view_ct", (40, 36, 2))
    assert scale == 1.0 and inputs.shape == target.shape == (4, 1, 16, 16)
    whole = torch.from_numpy(voxels).movedim(-1, 0) / 2000 + 0.5
    degraded = sparse_view_ct_degradation(whole, 1.0)
    for patch, truth in zip(inputs[:, 0], target[:, 0], strict=True):
        number, row, column = np.unravel_index(int((whole - truth[0, 0]).abs().argmin()), whole.shape)
        place = (number, slice(row, row + 16), slice(column, column + 16))
        torch.testing.assert_close(truth, whole[place], rtol=0, atol=1e-6)
        torch.testing.assert_close(patch, degraded[place], rtol=0, atol=1e-4)


def test_ultrasound_is_degraded_across_the_columns_of_its_picture(batch):
    _, inputs, target, (rows, columns) = batch("ultrasound", (40, 50, 1))
    assert rows == 1.0 and 1.0 < columns <= 4.0
    assert inputs.shape[2] == target.shape[2] == 16 and inputs.shape[3] < 16
    covered = torch.nn.functional.pad(target, (0, 16 - target.shape[3]))
    made = ultrasound_degradation(covered, (1.0, columns))[..., : inputs.shape[3] - 2]
    torch.testing.assert_close(made, inputs[..., : made.shape[3]], rtol=0, atol=1e-5)


def test_the_parts_of_a_training_are_runs_of_their_own():
    for name, trained, epochs in (
        ("generator", True, (100, 0)),
        ("critic", False, (0, 100)),
        ("joint", True, (0, 100)),
    ):
        config = configured(name)
        assert config[name] == "%run"
        assert config["train_generator"] is trained
        assert (config["warmup_epochs"], config["gan_epochs"]) == epochs
