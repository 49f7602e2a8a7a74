import json
import logging
import multiprocessing
import os
import signal
import socket
import time

import pytest
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from processes import FORKSERVER

from miassr_monai.handlers import RunFolder, run_folder

OLD = {"warmup_checkpoint.pt", "model.pt", "model_best_psnr.pt", "log.csv", "validation.png", "config.json"}
# What is not of a run: an MLflow data base, which has room for many, and what a user put there.
KEPT = {"mlruns.db", "notes.txt"}


@pytest.fixture
def folder(tmp_path):
    """A folder in which a run was."""
    for name in OLD | KEPT:
        (tmp_path / name).write_text(f"old {name}")
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()} - {".lock"}


def step(handler, *, fail=False):
    """A step of a stage; or the stage fails before it."""
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    if not fail:
        engine.run([0], max_epochs=2)


def test_what_an_earlier_run_left_is_moved_away_whole_at_the_first_step(folder, caplog):
    handler = RunFolder(folder)
    handler.claim()
    step(handler, fail=True)
    assert names(folder) == OLD | KEPT
    with caplog.at_level(logging.WARNING):
        step(handler)
    assert names(folder) == KEPT | {"previous_1"}
    assert {path.name: path.read_text() for path in (folder / "previous_1").iterdir()} == {n: f"old {n}" for n in OLD}
    assert f"what an earlier run left in {folder} is now in {folder / 'previous_1'}" in caplog.text


def test_what_this_run_leaves_stays_in_its_later_stages(folder):
    handler = RunFolder(folder)
    step(handler)
    (folder / "model.pt").write_text("new")
    step(handler)
    assert (folder / "model.pt").read_text() == "new"


def test_nothing_is_ever_written_over(folder):
    step(RunFolder(folder))
    (folder / "model.pt").write_text("second")
    step(RunFolder(folder))
    step(RunFolder(folder))
    assert names(folder) == KEPT | {"previous_1", "previous_2"}
    assert (folder / "previous_1" / "model.pt").read_text() == "old model.pt"
    assert (folder / "previous_2" / "model.pt").read_text() == "second"


def test_a_run_that_goes_on_keeps_what_is_there(folder):
    step(RunFolder(folder, resume=True))
    assert names(folder) == OLD | KEPT


def test_a_run_that_has_no_checkpoint_to_go_on_with_starts_anew(folder):
    (folder / "warmup_checkpoint.pt").unlink()
    step(RunFolder(folder, resume=True))
    assert names(folder) == KEPT | {"previous_1"}


def test_a_new_folder_is_made(tmp_path):
    folder = tmp_path / "deep" / "folder"
    handler = RunFolder(folder)
    handler.claim()
    assert folder.is_dir()
    step(handler)
    assert names(folder) == set()


def test_the_configuration_of_a_workflow_is_written_at_the_first_step(folder):
    config = {
        "folder": {"_target_": "miassr_monai.handlers.RunFolder", "path": str(folder)},
        "run": ["$@folder.claim()", "$@folder.begin()"],
    }
    (folder / "train.json").write_text(json.dumps(config))
    (folder / "metadata.json").write_text("{}")
    workflow = ConfigWorkflow(str(folder / "train.json"), logging_file=False, workflow_type=None)
    workflow.initialize()
    assert (folder / "config.json").read_text() == "old config.json"
    workflow.run()
    assert json.loads((folder / "config.json").read_text())["run"] == config["run"]
    assert (folder / "previous_1" / "config.json").read_text() == "old config.json"


def hold(path, pids):
    """Claim a folder, and sleep beside a worker that does."""
    handler = RunFolder(path)
    handler.claim()
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    pids.put(worker.pid)
    worker.join()


@pytest.fixture
def other_run(tmp_path):
    """A run of another process that holds a folder, and its worker."""
    pids = FORKSERVER.Queue()
    process = FORKSERVER.Process(target=hold, args=(tmp_path, pids))
    process.start()
    worker = pids.get()
    yield process, worker
    process.kill()
    process.join()
    os.kill(worker, signal.SIGKILL)


def test_a_folder_in_use_is_refused_by_the_name_of_the_process_until_that_is_killed(tmp_path, other_run):
    process, worker = other_run
    with pytest.raises(RuntimeError) as caught:
        RunFolder(tmp_path).claim()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path} is in use by process {process.pid} on {socket.gethostname()} (since 2")
    assert line.endswith("wait for it, stop it, or give another output_dir.")
    process.kill()
    process.join()
    # Its worker, which lives on, does not hold the folder.
    os.kill(worker, 0)
    RunFolder(tmp_path).claim()
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_disk_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(run_folder.fcntl, "lockf", refuse)
    with caplog.at_level(logging.WARNING):
        RunFolder(tmp_path).claim()
    assert f"{tmp_path} cannot be locked (No locks available)" in caplog.text


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=f"{tmp_path}/file cannot be written .*: give another output_dir"):
        RunFolder(tmp_path / "file").claim()
