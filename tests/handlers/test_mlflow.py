import os
import socket
import sqlite3
import time

import pytest
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri

from miassr_monai.handlers import MLflowLog, mlflow
from miassr_monai.handlers.mlflow import make_database


@pytest.fixture(scope="module", autouse=True)
def no_tracking_uri():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("tracking") / "mlruns.db"
    make_database(path)
    return path


@pytest.fixture(scope="module")
def uri(database):
    return path_to_sqlite_uri(database)


@pytest.fixture(scope="module")
def client(uri):
    return MlflowClient(uri)


def runs_of(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def history(client, log, name):
    return [(point.step, point.value) for point in client.get_metric_history(log.run_id, name)]


def test_a_run_has_what_was_logged_and_is_finished_when_it_is_closed(uri, client, tmp_path):
    for name in ("panel.png", "config.json"):
        (tmp_path / name).write_text(name)
    artifacts = [str(tmp_path / name) for name in ("config.json", "missing.csv")]
    log = MLflowLog(uri, "whole", "one run", artifacts)
    log.log_params({"warmup/max_epochs": 3})
    log.log_metrics({"warmup/loss": 0.5, "warmup/psnr": 30.0}, 1)
    log.log_metrics({"warmup/loss": 0.25}, 2)
    log.log_file(tmp_path / "panel.png", "warmup/epoch_0001")
    log.log_file(tmp_path / "nothing.png", "warmup/epoch_0002")
    assert runs_of(client, "whole")[0].info.status == "RUNNING"
    log.close()
    (run,) = runs_of(client, "whole")
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "one run", {"warmup/max_epochs": "3"})
    assert history(client, log, "warmup/loss") == [(1, 0.5), (2, 0.25)]
    assert {item.path for item in client.list_artifacts(log.run_id)} == {"warmup", "config.json"}
    assert {item.path for item in client.list_artifacts(log.run_id, "warmup")} == {"warmup/epoch_0001"}


def test_a_resumed_run_goes_on_in_its_own_run_and_can_be_longer(uri, client):
    logs = [MLflowLog(uri, "resumed", f"run {index}") for index in range(3)]
    for log in logs:
        log.log_params({"warmup/max_epochs": 1})
        log.log_metrics({"loss": 1.0}, 1)
    resumed = MLflowLog(uri, "resumed", "another")
    resumed.load_state_dict(logs[1].state_dict())
    resumed.log_params({"warmup/max_epochs": 2, "gan/max_epochs": 1})
    resumed.log_metrics({"loss": 2.0}, 2)
    resumed.close()
    runs = {run.info.run_name: run for run in runs_of(client, "resumed")}
    assert set(runs) == {"run 0", "run 1", "run 2"}
    assert runs["run 1"].info.status == "FINISHED"
    assert runs["run 1"].data.params == {"warmup/max_epochs": "1", "gan/max_epochs": "1"}
    assert history(client, logs[1], "loss") == [(1, 1.0), (2, 2.0)]
    assert history(client, logs[2], "loss") == [(1, 1.0)]


def test_a_run_that_was_finished_runs_again_when_it_is_made_longer(uri, client):
    log = MLflowLog(uri, "longer")
    log.log_metrics({"loss": 1.0}, 1)
    log.close()
    resumed = MLflowLog(uri, "longer")
    resumed.load_state_dict(log.state_dict())
    resumed.log_metrics({"loss": 1.0}, 2)
    (run,) = runs_of(client, "longer")
    assert run.info.status == "RUNNING"


def test_a_run_that_is_not_in_this_database_is_begun_anew(uri, client):
    log = MLflowLog(uri, "elsewhere", "new")
    log.load_state_dict({"run_id": 32 * "a"})
    log.log_metrics({"loss": 1.0}, 1)
    (run,) = runs_of(client, "elsewhere")
    assert (run.info.run_name, run.info.run_id) == ("new", log.run_id)


def test_the_environment_decides_where(uri, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    MLflowLog("http://127.0.0.1:9", "environment").log_metrics({"loss": 1.0}, 1)
    assert len(runs_of(client, "environment")) == 1


def use(log):
    """Log as a training does; the seconds that it took."""
    start = time.monotonic()
    log.log_params({"warmup/max_epochs": 2})
    for step in range(20):
        log.log_metrics({"loss": 1.0}, step)
    log.close()
    return time.monotonic() - start


@pytest.fixture
def silent_server():
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def assert_one_warning(caplog, uri):
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("miassr_monai")]
    (message,) = messages
    assert message.startswith(f"MLflow at {uri} cannot be used, the run goes on without it: ")
    assert "\n" not in message


def test_a_server_that_is_away_costs_one_warning_and_seconds(caplog):
    assert use(MLflowLog("http://127.0.0.1:9", "away")) < 15
    assert_one_warning(caplog, "http://127.0.0.1:9")


def test_a_server_that_does_not_answer_costs_one_warning_and_its_timeout(caplog, silent_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    assert use(MLflowLog(silent_server, "silent")) < 15
    assert_one_warning(caplog, silent_server)


def test_a_database_that_is_locked_costs_one_warning_and_some_patience(caplog, database, uri, monkeypatch):
    monkeypatch.setattr(mlflow, "PATIENCE", 0.5)
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert use(MLflowLog(uri, "locked")) < 15
    finally:
        other.close()
    assert_one_warning(caplog, uri)


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but longer than the header of one" * 9], ids=["empty", "other"]
)
def test_a_file_that_is_no_database_of_mlflow_costs_one_warning(caplog, tmp_path, content):
    path = tmp_path / "mlruns.db"
    with sqlite3.connect(path) as half:
        half.execute("CREATE TABLE _alembic_tmp_experiments (id INTEGER)")
        half.execute("CREATE TABLE experiments (id INTEGER)")
    half.close()
    path.write_bytes(content or path.read_bytes())
    assert use(MLflowLog(path_to_sqlite_uri(path), "half")) < 15
    assert_one_warning(caplog, path_to_sqlite_uri(path))


def test_a_database_that_is_read_only_costs_one_warning(caplog, database, tmp_path):
    path = tmp_path / "mlruns.db"
    content = bytearray(database.read_bytes())
    # The version of the format for those who write: SQLite only reads what is of a later one than it knows.
    content[18] = 3
    path.write_bytes(content)
    assert use(MLflowLog(path_to_sqlite_uri(path), "read-only")) < 15
    assert_one_warning(caplog, path_to_sqlite_uri(path))
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_costs_one_warning(caplog, tmp_path):
    (tmp_path / "file").write_text("mine")
    uri = path_to_sqlite_uri(tmp_path / "file" / "mlruns.db")
    assert use(MLflowLog(uri, "nowhere")) < 15
    assert_one_warning(caplog, uri)


def test_a_database_that_is_free_again_is_used_again(caplog, database, uri, client, monkeypatch):
    monkeypatch.setattr(mlflow, "PATIENCE", 0.2)
    monkeypatch.setattr(mlflow, "PAUSE", 0.0)
    log = MLflowLog(uri, "free")
    log.log_metrics({"loss": 1.0}, 1)
    log.handler.close()
    log.handler = None
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for step in (2, 3):
        log.log_metrics({"loss": 1.0}, step)
    other.close()
    log.log_metrics({"loss": 4.0}, 4)
    assert history(client, log, "loss") == [(1, 1.0), (4, 4.0)]
    assert_one_warning(caplog, uri)


def test_it_is_not_tried_at_every_step(monkeypatch):
    tries = []

    def connect():
        tries.append(time.monotonic())
        raise OSError("away")

    log = MLflowLog("http://127.0.0.1:9", "away")
    monkeypatch.setattr(log, "connect", connect)
    use(log)
    assert len(tries) == 1
    monkeypatch.setattr(log, "retry_at", time.monotonic() - 1)
    use(log)
    assert len(tries) == 2


def tables(path):
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_the_database_is_whole_or_not_there(tmp_path, database, monkeypatch):
    path, seen = tmp_path / "mlruns.db", []

    def put(partial, path):
        seen.append((tables(partial), path.exists()))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", put)
    with pytest.raises(KeyboardInterrupt):
        make_database(path)
    assert seen == [(tables(database), False)] and {"experiments", "runs", "metrics"} <= tables(database)
    assert list(tmp_path.iterdir()) == []


def test_the_database_of_a_process_that_was_faster_is_used(tmp_path, monkeypatch):
    path = tmp_path / "mlruns.db"

    def be_slow(uri):
        path.write_text("of the other process")
        return MlflowClient(uri)

    monkeypatch.setattr(mlflow, "MlflowClient", be_slow)
    make_database(path)
    assert path.read_text() == "of the other process"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_links_will_do(tmp_path, database, monkeypatch):
    def refuse(partial, path):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    make_database(tmp_path / "mlruns.db")
    assert tables(tmp_path / "mlruns.db") == tables(database)
    assert [file.name for file in tmp_path.iterdir()] == ["mlruns.db"]


def test_a_database_that_is_there_is_left_alone(database):
    before = database.stat().st_mtime_ns, os.stat(database).st_ino
    make_database(database)
    assert (database.stat().st_mtime_ns, os.stat(database).st_ino) == before
