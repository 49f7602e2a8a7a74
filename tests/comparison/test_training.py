import json
import os
import signal
import sys
import threading
import time

import fire
import pytest

from miassr_monai.comparison import Training, train_all, training

# Stands for a training: says what it was given and how it ends.
PROGRAM = """
import json, os, pathlib, sys, time
files, options = json.loads(sys.argv[1])
settings = json.loads(pathlib.Path(files[-1]).read_text())
folder = pathlib.Path(options["output_dir"])
with open(settings["journal"], "a") as journal:
    entry = ["begins", options["run_name"], options.get("resume"), os.environ["OMP_NUM_THREADS"]]
    journal.write(json.dumps(entry) + "\\n")
(folder / "warmup_checkpoint.pt").touch()
time.sleep(settings["seconds"])
with open(settings["journal"], "a") as journal:
    journal.write(json.dumps(["ends", options["run_name"]]) + "\\n")
if settings["fails"]:
    sys.exit("Traceback of something\\nerror: it has failed.")
(folder / "model.pt").touch()
"""


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """The program instead of the bundle."""

    def command(run_id, files, options):
        assert run_id == "training"
        return [sys.executable, "-c", PROGRAM, json.dumps([files, options])]

    monkeypatch.setattr(training, "bundle_command", command)


@pytest.fixture
def make(tmp_path):
    """Function that makes a training."""

    def make(name, seconds=0.0, fails=False, **settings):
        settings = {"journal": str(tmp_path / "journal"), "seconds": seconds, "fails": fails, **settings}
        return Training(name, tmp_path / name, ["train.json"], settings, {"num_workers": 2})

    return make


def journal(tmp_path):
    return [tuple(json.loads(line)) for line in (tmp_path / "journal").read_text().splitlines()]


def test_a_command_says_to_the_bundle_what_it_was_given(monkeypatch):
    monkeypatch.undo()
    options = {"output_dir": "/a folder/it's", "run_name": "12", "num_workers": 2, "resume": True}
    command = training.bundle_command("training", ["/a folder/train.json", "b, c.json"], options)
    assert command[:4] == [sys.executable, "-m", "monai.bundle", "run"]
    told = fire.Fire(lambda run_id, config_file, **others: (run_id, config_file, others), command[4:])
    assert told == ("training", ["/a folder/train.json", "b, c.json"], options)


def test_trainings_run_one_after_the_other_and_are_not_done_twice(make, tmp_path):
    told, trainings = [], [make("a"), make("b")]
    assert train_all(trainings, 1, told.append) == {}
    assert [entry[:2] for entry in journal(tmp_path)] == [
        ("begins", "a"),
        ("ends", "a"),
        ("begins", "b"),
        ("ends", "b"),
    ]
    assert told[0] == f"a is trained (see {tmp_path}/a/training.txt)" and told[1].startswith("a is done after 0.0 min")
    assert train_all([*trainings, make("c")], 1, told.append) == {}
    assert told[4] == "2 of 3 networks are trained already."
    assert len(journal(tmp_path)) == 6


def test_several_run_at_once_and_share_the_cores(make, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert train_all([make(name, 1.0) for name in "abc"], 2, print) == {}
    entries = journal(tmp_path)
    assert [entry[0] for entry in entries[:3]] == ["begins", "begins", "ends"]
    running = 0
    for what, *_ in entries:
        running += 1 if what == "begins" else -1
        assert running <= 2
    assert {entry[3] for entry in entries if entry[0] == "begins"} == {"4"}


def test_one_that_fails_says_why_and_does_not_stop_the_others(make, tmp_path):
    told = []
    failed = train_all([make("a", fails=True), make("b")], 1, told.append)
    assert failed == {"a": f"it has failed. (see {tmp_path}/a/training.txt)"}
    assert told[1].startswith("a has failed after 0.0 min: it has failed.")
    assert (tmp_path / "b/done").exists() and not (tmp_path / "a/done").exists()


def test_what_ends_the_comparison_ends_its_trainings_which_go_on_later(make, tmp_path):
    first = make("a", 30.0)

    def interrupt():
        while not first.begun:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_all([first, make("b")], 1, print)
    assert time.monotonic() - start < 20
    assert [entry[:2] for entry in journal(tmp_path)] == [("begins", "a")]
    told = []
    # What does not decide the result may differ.
    again = make("a", 30.0)
    again.check()
    object.__setattr__(again, "settings", {**again.settings, "seconds": 0.0})
    assert train_all([again], 1, told.append) == {}
    assert told[0].startswith("a goes on with its training")
    assert journal(tmp_path)[1][:3] == ("begins", "a", True)


def test_a_folder_with_a_training_of_another_kind_is_refused(make, tmp_path):
    assert train_all([make("a", depth=2)], 1, print) == {}
    make("a", depth=2).check()
    message = rf"{tmp_path}/a holds a training with another depth .2, not 3.: give another folder for the comparison"
    with pytest.raises(ValueError, match=message):
        make("a", depth=3).check()
    with pytest.raises(ValueError, match=r"a training with another width .None, not 4."):
        make("a", depth=2, width=4).check()
    # One that never got anywhere may be corrected.
    for path in ("done", "warmup_checkpoint.pt"):
        (tmp_path / "a" / path).unlink()
    make("a", depth=3).check()


def test_the_settings_are_an_overlay_that_names_those_before_it(make, tmp_path):
    one = Training("a", tmp_path / "a", ["x/train.json", "x/release.json"], {"depth": 2})
    assert json.loads(one.content()) == {"overlays": ["release"], "depth": 2}
