"""The bundle under MONAI's federated learning: two clients, three rounds, weights averaged."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject

CONFIGS = Path(__file__).parents[1] / "bundle/configs"
TINY = {
    "width": 4,
    "depth": 1,
    "skip": "bicubic",
    "projection": "center",
    "critic_width": 2,
    "critic_dense_channels": 4,
    "perceptual_weight": 0,
    "patch_size": 32,
    "batch_size": 2,
    "samples_per_volume": 2,
    "epoch_length": 4,
    "val_scales": [2.0],
    "learning_rate": 0.01,
    "scale_low": 1.9999,
    "scale_high": 2.0,
    "device": "$torch.device('cpu')",
}


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Two hospitals with images of their own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlruns.db")
    made = []
    for number in range(2):
        folder = tmp_path / f"client_{number}"
        rows = np.sin(np.arange(40) * (0.9 + 0.3 * number))
        for section in ("training", "validation"):
            (folder / section).mkdir(parents=True)
            values = (500 + 200 * np.add.outer(rows, rows))[..., None].repeat(2, 2).astype(np.float32)
            nib.save(nib.Nifti1Image(values, np.eye(4)), folder / section / "volume.nii.gz")
        files = ["configs/train.json", "configs/federated.json"]
        arguments = {**TINY, "dataset_dir": str(folder), "output_dir": str(folder / "output")}
        client = MonaiAlgo(
            bundle_root=str(CONFIGS.parent),
            config_train_filename=files,
            config_evaluate_filename=files,
            train_kwargs=dict(arguments),
            eval_kwargs=dict(arguments),
            send_weight_diff=False,
        )
        client.initialize({"CLIENT_NAME": f"client_{number}"})
        made.append(client)
    return made


def psnr(client, weights):
    return client.evaluate(ExchangeObject(weights=weights)).metrics["psnr"]


def test_three_rounds_of_averaging_make_one_network_that_is_better_for_both(clients):
    weights = {name: value.numpy() for name, value in clients[0].get_weights().weights.items()}
    before = [psnr(client, weights) for client in clients]
    for round_number in range(1, 4):
        trained = []
        for client in clients:
            client.train(ExchangeObject(weights=weights))
            assert client.trainer.state.epoch == round_number
            trained.append({name: value.clone() for name, value in client.get_weights().weights.items()})
        assert not torch.equal(trained[0]["trunk.head.weight"], trained[1]["trunk.head.weight"])
        # As a server does it, which knows of no bytes: all of them are numbers.
        weights = {name: sum(each[name].numpy() / 2.0 for each in trained) for name in weights}
    after = [psnr(client, weights) for client in clients]
    assert all(late > early + 0.1 for early, late in zip(before, after, strict=True)), (before, after)
    for client in clients:
        client.finalize()
