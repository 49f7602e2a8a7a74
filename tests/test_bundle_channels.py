"""A network for images of several channels, one of them missing, trained from weights for one channel."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from make import small_generator
from monai.bundle import ConfigWorkflow

from miassr_monai.networks import load_network

CONFIGS = Path(__file__).parent.parent / "bundle" / "configs"
CONTRASTS = ("FLAIR", "T1w", "T2w")
TINY = {"width": 4, "depth": 2, "patch_size": 24, "batch_size": 2, "samples_per_volume": 2, "epoch_length": 2}
TINY |= {
    "input_size": 16,
    "val_scales": [2.0],
    "critic_width": 2,
    "device": "cpu",
    "projection": "center",
    "log_interval": 1,
}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Folder of two subjects with three contrasts each, of which the first lacks one."""
    folder = tmp_path_factory.mktemp("channels")
    generator = np.random.default_rng(0)
    sections = {}
    for section, subject in (("training", "p1"), ("validation", "p2")):
        names = [f"{subject}_{contrast}.nii.gz" for contrast in CONTRASTS]
        for name in names:
            nib.save(
                nib.Nifti1Image(generator.uniform(10, 900, (26, 24, 2)).astype(np.float32), np.eye(4)), folder / name
            )
        image = [None, *names[1:]] if section == "training" else names
        sections[section] = [{"image": image, "contrast": CONTRASTS, "subject": subject}]
    (folder / "datalist.json").write_text(json.dumps(sections))
    return folder


def run(names, workflow_type, **overrides):
    files = [CONFIGS / f"{name}.json" for name in names]
    workflow = ConfigWorkflow([str(file) for file in files], workflow_type=workflow_type, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.fixture(scope="module")
def trained(data_set, tmp_path_factory):
    """Folder with weights for one channel, and those of three that were made from them with the trunk kept."""
    folder = tmp_path_factory.mktemp("trained")
    options = {"width": 4, "depth": 2, "hidden_channels": 256, "anisotropic": True, "skip": "bicubic"}
    torch.save(small_generator(**options).state_dict(), folder / "single.pt")
    given = {
        "val_interval": 1,
        "initial_weights": str(folder / "single.pt"),
        "freeze_trunk": True,
        "gan_epochs": 1,
        "channels": 3,
    }
    paths = {"dataset_dir": str(data_set), "output_dir": str(folder / "out")}
    run(["train", "release", "gan", "transfer"], "train", fill_missing=True, amp=False, **{**TINY, **given, **paths})
    return folder


def test_a_network_for_several_channels_keeps_the_trunk_of_one_for_one(trained):
    source, checkpoint = (
        torch.load(trained / name, weights_only=True) for name in ("single.pt", "out/gan_checkpoint.pt")
    )
    for name, values in checkpoint["network"].items():
        if name.startswith("trunk.body"):
            assert torch.equal(values, source[name]), name
    assert load_network(trained / "out/model.pt").in_channels == 3
    log = pd.read_csv(trained / "out/log.csv")
    assert {"psnr", "psnr_channel_0", "psnr_channel_2", "adversarial"} <= set(log["metric"])
    found = log.set_index("metric")["value"]
    assert found["psnr"] == pytest.approx(np.mean([found[f"psnr_channel_{c}"] for c in range(3)]))
