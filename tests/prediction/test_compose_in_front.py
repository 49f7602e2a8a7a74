"""Super-resolution in front of bundles that are made like two of MONAI's Model Zoo."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, ScaleIntensity

from miassr_monai.prediction import ComposeInFront, SuperResolve

OVERLAY = Path(__file__).parents[2] / "bundle/configs/in_front_of.json"
AFFINE = np.array([[0.0, -1.5, 0.0, 60.0], [-1.5, 0.0, 0.0, 40.0], [0.0, 0.0, 5.0, -30.0], [0.0, 0.0, 0.0, 1.0]])


class Threshold(torch.nn.Module):
    """A network that knows what is bright, and notes what it sees."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.factor = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        bright = self.factor * (100 * x[:, :1] - 50)
        return torch.cat([-bright, bright], 1) if self.channels == 2 else bright.repeat(1, self.channels, 1, 1, 1)


def bundle(folder, first, transforms, last, network, roi):
    """The bundle of a segmentation network with random weights; returns its inference configuration."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs/metadata.json").write_text("{}")
    torch.save(network.state_dict(), folder / "models/model.pt")
    config = {
        "imports": ["$import test_compose_in_front"],
        "bundle_root": str(folder),
        "device": "$torch.device('cpu')",
        "files": None,
        "network_def": {"_target_": "test_compose_in_front.Threshold", "channels": network.channels},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "LoadImaged", "keys": "image"}, *first, *transforms],
        },
        "dataset": {"_target_": "Dataset", "data": "$[{'image': @files}]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 4},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": roi, "sw_batch_size": 1, "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Activationsd",
                    "keys": "pred",
                    **({"softmax": True} if network.channels == 2 else {"sigmoid": True}),
                },
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                *last,
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": str(folder / "eval"), "resample": False},
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }
    path = folder / "configs/inference.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def volume(tmp_path):
    """Coarse slices with a bright block in the middle, which is large beside the blur of any interpolation."""
    values = np.zeros((40, 36, 12), np.float32)
    values[10:30, 9:27, 3:9] = 200
    path = tmp_path / "coarse.nii.gz"
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path, values > 0


def segment(config, files, **overrides):
    """Run a bundle behind the super-resolution; returns the sizes that the network saw and the only label map."""
    super_resolution = {f"super_resolution#{name}": value for name, value in overrides.items()}
    workflow = ConfigWorkflow([str(config), str(OVERLAY)], workflow_type="infer", files=files, **super_resolution)
    workflow.initialize()
    network = workflow.network_def
    workflow.run()
    (labels,) = (config.parent.parent / "eval").rglob("*.nii.gz")
    return network.seen, nib.load(labels)


def test_a_bundle_like_spleen_ct_segmentation_sees_fine_slices_and_answers_on_the_scanner_s_grid(volume, tmp_path):
    path, truth = volume
    config = bundle(
        tmp_path / "spleen",
        [{"_target_": "EnsureChannelFirstd", "keys": "image"}],
        [
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": 0,
                "a_max": 200,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
        [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
        Threshold(2),
        [48, 48, 48],
    )
    seen, labels = segment(config, str(path), scale=[1, 1, 2.5], model="bicubic", window=[0, 200])
    assert seen == [(1, 1, 48, 48, 48)]
    assert labels.shape == truth.shape
    np.testing.assert_allclose(labels.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(labels.dataobj), truth)


def test_a_bundle_like_brats_mri_segmentation_takes_each_channel(volume, tmp_path):
    path, truth = volume
    config = bundle(
        tmp_path / "brats",
        [],
        [{"_target_": "ScaleIntensityd", "keys": "image"}],
        [
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.where(x[[2]] > 0, 4, 0)"},
        ],
        Threshold(3),
        [40, 36, 24],
    )
    seen, labels = segment(config, [str(path)] * 4, spacing=[1.5, 1.5, 2.5], model="bicubic")
    assert seen == [(1, 4, 40, 36, 24)]
    np.testing.assert_allclose(labels.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(labels.dataobj), 4 * truth)


def test_it_comes_behind_what_loads_and_only_there(volume):
    path, _ = volume
    resolve = SuperResolve(2.0, model="bicubic")
    composed = ComposeInFront([Compose([LoadImage(), EnsureChannelFirst()]), ScaleIntensity()], resolve)
    assert [type(t) for t in composed.transforms] == [LoadImage, EnsureChannelFirst, SuperResolve, ScaleIntensity]
    made = composed(path)
    assert isinstance(made, MetaTensor) and made.shape == (1, 80, 72, 12)
    with pytest.raises(ValueError, match=r"the preprocessing has no LoadImage\(d\)"):
        ComposeInFront([ScaleIntensity()], resolve)
