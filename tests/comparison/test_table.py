import json
import math
import time

import pandas as pd
import pytest
import torch
from make import small_generator

from miassr_monai.comparison import comparison_rows, comparison_table, table, write_comparison
from miassr_monai.comparison.table import critic_order, training_cost, upscaling_seconds


def write_log(path, stages):
    """A log of stages with epochs of thirty steps, each of which takes so many seconds."""
    rows = []
    for stage, (steps, seconds) in stages.items():
        for step in range(1, steps + 1):
            rows.append((stage, (step + 29) // 30, step, "loss", 0.1))
            if step % 30 == 0 or step == steps:
                rows.append((stage, (step + 29) // 30, step, "discarded_steps", 0))
                rows.append((stage, (step + 29) // 30, step, "training_seconds", step * seconds))
    pd.DataFrame(rows, columns=["stage", "epoch", "iteration", "metric", "value"]).to_csv(path, index=False)


def test_the_cost_of_a_training_is_that_of_all_its_stages(tmp_path):
    write_log(tmp_path / "log.csv", {"warmup": (96, 0.5), "gan": (60, 2.0)})
    cost = training_cost(tmp_path / "log.csv")
    assert cost == {"steps": 156, "minutes": pytest.approx((96 * 0.5 + 60 * 2.0) / 60)}


def test_what_the_critic_has_in_order_is_that_of_the_last_epoch(tmp_path):
    rows = [("gan", epoch, 10 * epoch + i, "critic_order", 0.25 * i) for epoch in (1, 2) for i in range(epoch, 4)]
    rows += [("warmup", 9, 90, "loss", 7.0), ("gan", 2, 24, "loss", 7.0)]
    pd.DataFrame(rows, columns=["stage", "epoch", "iteration", "metric", "value"]).to_csv(tmp_path / "log.csv")
    assert critic_order(tmp_path / "log.csv") == {"critic_order": (0.5 + 0.75) / 2}
    write_log(tmp_path / "log.csv", {"warmup": (30, 1.0)})
    assert critic_order(tmp_path / "log.csv") == {}


def test_a_slice_is_upscaled_as_often_as_is_said(monkeypatch):
    network, seen = small_generator().eval(), []
    network.register_forward_hook(lambda module, inputs, output: seen.append((*inputs[0].shape, *output.shape[2:])))
    assert 0 < upscaling_seconds(network) < 5
    assert seen == [(1, 1, 256, 256, 512, 512)] * 6
    monkeypatch.setattr(table, "PATIENCE", 2.0)
    network.register_forward_hook(lambda *_: time.sleep(1.5))
    # The second of two.
    assert 1.5 < upscaling_seconds(network) < 4 and len(seen) == 6 + 2


def record(method, scale, measure, mean, degradation="paper"):
    return {"degradation": degradation, "scale": scale, "method": method, "measure": measure, "mean": mean}


def report():
    """Of an evaluation of two methods at two scales by two degradations; one FID could not be had."""
    summary = [
        record(method, scale, measure, 10.0 * number + place, degradation)
        for number, method in enumerate(("bicubic", "mine"))
        for place, scale in enumerate(("2", "4", "mean"))
        for measure in ("psnr", "ssim", "consistency")
        for degradation in ("paper", "kspace")
    ]
    distances = [
        {"degradation": "paper", "scale": scale, "method": method, "measure": "fid", "value": value}
        for method, scale, value in (
            ("bicubic", "2", 8.0),
            ("bicubic", "4", 12.0),
            ("mine", "2", 1.0),
            ("mine", "4", None),
        )
    ]
    methods = [{"name": "bicubic"}, {"name": "mine"}]
    return {"methods": methods, "degradation": "paper", "summary": summary, "distances": distances}


def test_a_row_has_the_means_over_the_scales_and_what_the_network_costs(tmp_path):
    network = small_generator(width=4, depth=2)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    write_log(tmp_path / "log.csv", {"warmup": (60, 2.0)})
    bicubic, mine = comparison_rows(report(), {"mine": tmp_path / "model.pt"}, "cpu")
    assert bicubic == {"network": "bicubic", "psnr": 2.0, "ssim": 2.0, "fid": 10.0}
    assert mine.pop("slice_ms") > 0
    size = sum(parameter.numel() for parameter in network.parameters())
    assert mine == {"network": "mine", "parameters": size, "steps": 60, "minutes": 2.0, "psnr": 12.0, "ssim": 12.0}


ROWS = [
    {"network": "bicubic", "psnr": 30.123, "ssim": 0.9, "fid": 144.94},
    {
        "network": "A, x2",
        "parameters": 1_368_320,
        "psnr": 36.456,
        "ssim": 0.95761,
        "steps": 10_000,
        "minutes": 5.04,
        "slice_ms": 3.21,
    },
]


def test_the_table_is_markdown():
    assert comparison_table(ROWS).splitlines() == [
        "| network | parameters | PSNR (dB) |   SSIM |   FID |  steps | training, min | slice of 256 x 256, ms |",
        "|---------|-----------:|----------:|-------:|------:|-------:|--------------:|-----------------------:|",
        "| bicubic |            |     30.12 | 0.9000 | 144.9 |        |               |                        |",
        "| A, x2   |  1,368,320 |     36.46 | 0.9576 |       | 10,000 |           5.0 |                    3.2 |",
    ]


def test_a_critic_has_a_column_where_there_is_one():
    table = comparison_table([{"network": "bicubic"}, {"network": "GAN", "critic_order": 0.756, "steps": 10}])
    assert [line.split("|")[3].strip() for line in table.splitlines()] == [
        "critic: in order",
        "-" * 17 + ":",
        "",
        "76%",
    ]


def test_the_files_hold_the_rows(tmp_path):
    paths = write_comparison(tmp_path, ROWS)
    assert [path.name for path in paths] == ["comparison.md", "comparison.csv", "comparison.png"]
    assert paths[0].read_text() == comparison_table(ROWS)
    again = json.loads(pd.read_csv(paths[1]).to_json(orient="records"))
    assert [{key: value for key, value in row.items() if value is not None} for row in again] == ROWS
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert not math.isnan(ROWS[1]["psnr"])
