import csv
import time
from types import SimpleNamespace

import pytest

from miassr_monai.handlers import CsvLog


def log(path, stage, iterations, epoch_length=2, offset=0.0):
    """Log a loss at iterations and a score at the end of epochs, in a process of its own as it were."""
    log = CsvLog(path)
    for iteration in iterations:
        state = SimpleNamespace(epoch=-(-iteration // epoch_length), iteration=iteration)
        log.log(stage, state, {"loss": iteration + offset, "lr": 0.5})
        if iteration % epoch_length == 0:
            log.log(stage, state, {"psnr": 10 * iteration + offset})
    return log


def rows(path):
    with path.open(newline="") as file:
        return [
            (row["stage"], int(row["iteration"]), row["metric"], float(row["value"])) for row in csv.DictReader(file)
        ]


def test_each_metric_is_a_row_that_is_there_at_once(tmp_path):
    path, before = tmp_path / "new" / "log.csv", time.time()
    log(path, "warmup", [1, 2])
    with path.open(newline="") as file:
        first, *_, last = csv.DictReader(file)
    assert 0 <= float(first.pop("time")) - before + 0.01 < 10
    assert first == {"stage": "warmup", "epoch": "1", "iteration": "1", "metric": "loss", "value": "1.0"}
    assert (last["metric"], last["epoch"], last["iteration"], last["value"]) == ("psnr", "1", "2", "20.0")
    assert len(rows(path)) == 5


def test_values_are_kept_to_the_last_digit(tmp_path):
    values = {"a": 1 / 3, "b": float("nan"), "c": float("-inf"), "d": 3, "e": 1e-300}
    CsvLog(tmp_path / "log.csv").log("gan", SimpleNamespace(epoch=1, iteration=1), values)
    assert [(name, repr(value)) for _, _, name, value in rows(tmp_path / "log.csv")] == [
        (name, repr(float(value))) for name, value in values.items()
    ]


@pytest.mark.parametrize("cut", [0, 1, 7, 20, 42])
def test_a_run_that_was_killed_and_resumed_has_every_row_once(tmp_path, cut):
    path = tmp_path / "log.csv"
    log(path, "warmup", range(1, 5))
    log(path, "gan", range(1, 6), offset=0.25)
    # It was killed while it wrote.
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    # The latest checkpoint is that of the second epoch.
    log(path, "gan", range(5, 9), offset=0.5)
    straight = tmp_path / "straight.csv"
    log(straight, "warmup", range(1, 5))
    log(straight, "gan", range(1, 5), offset=0.25)
    log(straight, "gan", range(5, 9), offset=0.5)
    assert rows(path) == rows(straight)


def test_a_stage_that_starts_from_its_beginning_leaves_the_other_as_it_is(tmp_path):
    path = tmp_path / "log.csv"
    log(path, "warmup", [1, 2])
    log(path, "gan", [1, 2, 3])
    log(path, "gan", [1])
    assert [row[:2] for row in rows(path)] == 2 * [("warmup", 1)] + 3 * [("warmup", 2)] + 2 * [("gan", 1)]
