import torch
from mlflow import MlflowClient

from miassr_monai.comparison.mlflow import log_comparison
from miassr_monai.handlers import MLflowLog


def test_rows_stand_beside_the_losses_of_their_trainings(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlruns.db"
    training = MLflowLog(uri, "miassr", "EDSR")
    training.log_metrics({"warmup/loss": 0.25}, step=1)
    training.close()
    weights = {name: tmp_path / name / "model.pt" for name in ("EDSR", "RDN")}
    for path in weights.values():
        path.parent.mkdir()
    # Of the other training there is no checkpoint.
    torch.save({"mlflow_log": training.state_dict()}, tmp_path / "EDSR/warmup_checkpoint.pt")
    table = tmp_path / "comparison.md"
    table.write_text("table")
    rows = [{"network": "bicubic", "psnr": 30.0}, {"network": "EDSR", "psnr": 31.0}, {"network": "RDN", "psnr": 32.0}]
    settings = {"EDSR": {"depth": 4, "train#batch": 2}, "RDN": {"trunk": {"_target_": "RDN", "depth": 3}}}
    log_comparison(uri, rows, weights, settings, [table])

    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    found = {run.info.run_name: run for run in runs}
    assert len(runs) == len(found) == 3 and {run.info.status for run in runs} == {"FINISHED"}
    assert found["EDSR"].data.metrics == {"warmup/loss": 0.25, "comparison/psnr": 31.0}
    assert found["EDSR"].data.params == {"depth": "4", "train.batch": "2"}
    assert found["RDN"].data.metrics == {"comparison/psnr": 32.0}
    assert found["RDN"].data.params == {"trunk._target_": "RDN", "trunk.depth": "3"}
    files = client.list_artifacts(found["comparison"].info.run_id)
    assert [file.path for file in files] == ["comparison.md"]
