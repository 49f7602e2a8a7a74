import json

import pytest
import torch
from make import small_trunk

from miassr_monai.bundle import INTERPOLATIONS
from miassr_monai.cli import main
from miassr_monai.networks import SubPixelGenerator
from miassr_monai.prediction.model import BASELINES


def test_info_tells_of_a_bundle_and_of_weights_alone(folder, weights, capsys):
    assert main(["info", "--model", str(weights)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    count = sum(values.numel() for values in torch.load(weights).values() if values.dtype == torch.float32)
    assert lines["network"] == f"MetaSRGenerator with trunk EDSR, {count:,} parameters"
    assert lines["input"] == "slices of 1 channel, all axes with one scale"
    assert lines["model"] == "weights.pt" and lines["scales"] == lines["licence"] == "unknown"
    for name in ("models", "configs"):
        (folder / name).mkdir()
    weights.rename(folder / "models/model.pt")
    trained = {"scales": [1, 4], "spacing_mm": [0.45, 1.2], "modalities": ["MR", "CT"], "license": "CC BY 4.0"}
    metadata = {"name": "brains", "version": "1.0.0", "trained_for": trained, "intended_use": "research only"}
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    assert main(["info", "--model", "."]) == 0
    out = capsys.readouterr().out
    rows = ("model         brains", "scales        1 to 4", "spacing made  0.45 to 1.2 mm", "modalities    MR, CT")
    assert all(row in out.splitlines() for row in (*rows, "licence       CC BY 4.0", "version       1.0.0"))
    trained["one_axis_scales"] = [1, 8]
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    assert main(["info", "--model", "."]) == 0
    assert "scales        1 to 4, along one axis 1 to 8" in capsys.readouterr().out.splitlines()
    for name in ("missing", "in.nii.gz"):
        assert main(["info", "--model", name]) == 2
    capsys.readouterr()
    assert main(["info"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("others        --model paper, --model small")


def test_info_tells_which_network_the_weights_are_of(tmp_path, capsys):
    network = SubPixelGenerator(small_trunk("RDN"), scales=[2])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    assert main(["info", "--model", str(tmp_path / "model.pt")]) == 0
    # Convolutions: a kernel of (channels in + 1 bias) for each channel out.
    dense = 2 * ((4 * 9 + 1) * 3 + (7 * 9 + 1) * 3 + (10 + 1) * 4)
    trunk = (9 + 1) * 4 + (4 * 9 + 1) * 4 + dense + (8 + 1) * 4 + (4 * 9 + 1) * 4
    count = trunk + (4 * 9 + 1) * 16 + 4 * 9 + 1
    line = f"network       SubPixelGenerator with trunk RDN, {count:,} parameters"
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", ["bicubic", "linear"])
def test_info_tells_of_an_interpolation(name, capsys):
    assert main(["info", "--model", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name} interpolation, which has no weights")


def test_every_model_without_weights_is_known_by_name():
    assert set(INTERPOLATIONS) == set(BASELINES)


def test_info_tells_of_the_network_that_a_scan_teaches(capsys):
    assert main(["info", "--model", "none"]) == 0
    assert "miassr upscale --model none --adapt" in capsys.readouterr().out
