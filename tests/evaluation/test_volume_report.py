import json

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.evaluation.thick_slices import ThickSlices, cubic_spline
from miassr_monai.evaluation.volume_report import evaluate_volumes, summarize_volumes, volume_table

KINDS, METHODS = ("box 3 mm", "box 4 mm"), ("cubic spline", "mine")


def scores():
    """Of two volumes of one subject and one of another; the gain is 1, 3 and 5 dB."""
    rows = []
    for kind in KINDS:
        for volume, subject, gain in (("a", "x", 1.0), ("b", "x", 3.0), ("c", "y", 5.0)):
            for method in METHODS:
                psnr = 30.0 - 2 * KINDS.index(kind) + (gain if method == "mine" else 0.0)
                row = {"input": kind, "method": method, "volume": volume, "subject": subject}
                rows.append({**row, "psnr": psnr, "seconds": 2.0})
    return pd.DataFrame(rows)


def test_means_are_over_subjects_and_gains_are_paired():
    rows = {(r["input"], r["method"], r["measure"]): r for r in summarize_volumes(scores())}
    assert rows["box 4 mm", "cubic spline", "psnr"]["mean"] == 28.0
    mine = rows["box 3 mm", "mine", "psnr"]
    # Subject x gains 2, y gains 5.
    assert (mine["mean"], mine["gain"], mine["better"], mine["subjects"]) == (33.5, 3.5, 2, 2)
    assert (mine["gain_lower"], mine["gain_upper"]) == (2.0, 5.0)
    assert rows["mean", "mine", "psnr"]["mean"] == 32.5 and "gain" not in rows["mean", "cubic spline", "psnr"]


def test_the_table_has_each_kind_of_slices_and_the_gains():
    lines = volume_table(summarize_volumes(scores())).splitlines()
    assert lines[0].split() == ["PSNR", "(dB)", "cubic", "spline", "mine"]
    assert lines[1].split() == ["box", "3", "mm", "30.00", "33.50"]
    assert lines[2].split() == ["+3.50", "(+2.00", "to", "+5.00)"]
    assert lines[5].split()[:1] == ["mean"] and lines[-1].split() == ["seconds", "2", "2"]


def load(item):
    if "bad" in item["image"]:
        raise ValueError("it is bad.")
    data = torch.rand(1, 20, 20, 24, generator=torch.Generator().manual_seed(len(item["image"])))
    return MetaTensor(data, affine=np.eye(4))


def test_a_volume_that_fails_is_left_out_and_the_others_are_written(tmp_path):
    items = [{"image": f"{name}.nii", "subject": name} for name in ("one", "bad", "three")]
    methods = {"cubic spline": cubic_spline, "darker": lambda thick, scales: 0.9 * cubic_spline(thick, scales)}
    conditions = ThickSlices.all_of([3], [0], ["box"])
    failed = evaluate_volumes(
        tmp_path / "out", items, load, conditions, methods, title="through_plane", settings={"told": "box"}
    )
    assert failed == {"bad.nii": "it is bad."}
    table = pd.read_csv(tmp_path / "out/through_plane.csv")
    assert table["subject"].tolist() == ["one", "one", "three", "three"]
    report = json.loads((tmp_path / "out/through_plane.json").read_text())
    assert report["failed"] == failed and report["told"] == "box"
    assert len(report["summary"]) == 2 * 2 * 10
    assert (tmp_path / "out/through_plane.txt").read_text() == volume_table(summarize_volumes(table)) + "\n"
    with pytest.raises(ValueError, match=r"none of the 1 volumes could be evaluated; bad\.nii: it is bad"):
        evaluate_volumes(tmp_path / "none", items[1:2], load, conditions, methods, title="none")
