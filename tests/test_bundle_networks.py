"""Every network of the package is trained, exported and used by naming it in the bundle's configuration."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from make import SMALL_TRUNKS
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export

from miassr_monai import networks
from miassr_monai.cli import main
from miassr_monai.networks import load_network

BUNDLE = Path(__file__).parent.parent / "bundle"
SUB_PIXEL = {"_target_": "miassr_monai.networks.SubPixelGenerator", "trunk": "@trunk"}


def generator(overlay, path):
    """The generator that `train.json` makes with an overlay, without memory."""
    path.write_text(json.dumps(overlay))
    parser = ConfigParser(ConfigParser.load_config_files([BUNDLE / "configs/train.json", path]))
    with torch.device("meta"):
        return parser.get_parsed_content("network_def")


@pytest.mark.parametrize("name", SMALL_TRUNKS)
def test_a_trunk_is_chosen_by_one_line(name, tmp_path):
    inner = {"_target_": "miassr_monai.networks.EDSR", "in_channels": 4}
    options = {"MDSR": {"scales": []}, "SpaceToDepth": {"trunk": inner}}.get(name, {})
    overlay = {"trunk": {"_target_": f"miassr_monai.networks.{name}", **options}}
    network = generator(overlay, tmp_path / "overlay.json")
    if name == "SpaceToDepth":
        options = {"trunk": networks.EDSR(in_channels=4)}
    assert network.trunk.definition() == getattr(networks, name)(**options).definition()
    assert network.definition()["network"] == "MetaSRGenerator"


def test_the_generator_is_chosen_by_one_line_and_the_trunk_keeps_its_size(tmp_path):
    network = generator(
        {"network_def": SUB_PIXEL, "trunk#_target_": "miassr_monai.networks.SRResNet", "depth": 3},
        tmp_path / "overlay.json",
    )
    assert network.definition()["network"] == "SubPixelGenerator"
    assert network.trunk.definition() == networks.SRResNet(depth=3).definition()


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "training/volume.nii.gz"
    path.parent.mkdir()
    values = np.random.default_rng(0).uniform(100, 900, (36, 36, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    (path.parent.parent / "validation").symlink_to(path.parent)
    return path


def test_a_network_with_batch_norm_for_whole_scales_is_trained_exported_and_used(volume, tmp_path):
    workflow = ConfigWorkflow(
        BUNDLE / "configs/train.json",
        workflow_type="train",
        dataset_dir=str(volume.parent.parent),
        output_dir=str(tmp_path),
        trunk={"_target_": "miassr_monai.networks.SRResNet", "width": 4, "depth": 1},
        network_def={**SUB_PIXEL, "scales": [2, 3]},
        scale_high=3.0,
        val_scales=[1.5, 2.0],
        **{"perceptual_weight": 0, "patch_size": 24, "batch_size": 4, "epoch_length": 3, "device": "cpu"},
        **{"warmup_epochs": 1, "gan_epochs": 1, "critic_width": 2},
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    weights = tmp_path / "model.pt"
    network = load_network(weights).eval()
    assert network.scales == [2, 3] and isinstance(network.trunk, networks.SRResNet)
    checkpoint = torch.load(tmp_path / "gan_checkpoint.pt", weights_only=True)
    name = "trunk.body.0.body.1.running_var"
    online, averaged = (checkpoint[key][name] for key in ("network", "ema_network"))
    # Six steps of momentum 0.001 from the 1 that both begin with.
    assert torch.all((averaged - 1).abs() < 0.006 * (online - 1).abs()) and not torch.any(averaged == 1)

    ckpt_export(
        "network_def",
        filepath=tmp_path / "model.ts",
        ckpt_file=str(weights),
        ckpt_path=str(weights),
        meta_file=str(BUNDLE / "configs/metadata.json"),
        config_file=str(BUNDLE / "configs/inference.json"),
    )
    exported, image = torch.jit.load(tmp_path / "model.ts"), torch.rand(1, 1, 9, 8)
    with torch.no_grad():
        for scale in (1.5, 2.0, 2.7, 3.0):
            torch.testing.assert_close(exported(image, scale), network(image, scale), rtol=0, atol=1e-6)

    fine = tmp_path / "fine.nii.gz"
    assert (
        main(["upscale", str(volume), str(fine), "--scale", "2.5x1x1", "--model", str(weights), "--device", "cpu"]) == 0
    )
    assert nib.load(fine).shape == (90, 36, 2)


def test_a_network_on_volumes_is_trained_on_some_voxels_then_against_a_critic_and_used(tmp_path):
    places = np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")
    values = (500 + 400 * np.sin(sum(places))).astype(np.float32)
    for section in ("training", "validation"):
        (tmp_path / "data" / section).mkdir(parents=True)
        nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "data" / section / "volume.nii.gz")
    workflow = ConfigWorkflow(
        [str(BUNDLE / f"configs/{name}.json") for name in ("train", "train_arssr", "blind", "gan")],
        workflow_type="train",
        dataset_dir=str(tmp_path / "data"),
        output_dir=str(tmp_path),
        initial_weights=None,
        trunk={"_target_": "miassr_monai.networks.ResCNN", "spatial_dims": 3, "width": 4, "depth": 1, "layers": 1},
        network_def={
            **{"_target_": "miassr_monai.networks.VolumeGenerator", "trunk": "@trunk", "anisotropic": True},
            **{"feature_channels": 4, "depth": 4, "width": 8, "skip": "tricubic"},
        },
        **{"anisotropic": True, "device": "cpu", "critic_width": 2, "val_scales": [2.0, [1, 1, 3]], "val_size": 20},
        **{
            "patch_size": 20,
            "scale_high": 3.0,
            "input_size": 16,
            "samples": 300,
            "batch_size": 2,
            "samples_per_volume": 2,
        },
        **{"epoch_length": 4, "warmup_epochs": 1, "gan_epochs": 1, "val_interval": 1, "log_interval": 1},
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    log = pd.read_csv(tmp_path / "log.csv")
    assert {"psnr_x2", "ssim_x1x1x3", "perceptual", "adversarial"} <= set(log["metric"])
    assert (log["metric"] == "loss").sum() == 8
    weights = tmp_path / "model.pt"
    assert load_network(weights).definition()["trunk"]["network"] == "ResCNN"
    fine = tmp_path / "fine.nii.gz"
    source = tmp_path / "data/training/volume.nii.gz"
    assert main(["upscale", str(source), str(fine), "--spacing", "1x1x1.25", "--model", str(weights)]) == 0
    image = nib.load(fine)
    assert image.shape == (48, 48, 38)
    np.testing.assert_allclose(image.affine[:3, 3], [-0.5, -0.5, -0.375])
