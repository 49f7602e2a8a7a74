import math
from types import SimpleNamespace

from ignite.engine import Engine
from mlflow import MlflowClient

from miassr_monai.evaluation import ScaleLog, scale_metrics
from miassr_monai.handlers import MLflowLog


def rows(values, measure="psnr", method="mine", degradation="paper", key="mean"):
    place = {"measure": measure, "method": method, "degradation": degradation}
    return [{**place, "scale": scale, key: value} for scale, value in values.items()]


def report(*summary, distances=()):
    return {"summary": [row for part in summary for row in part], "distances": list(distances)}


def test_a_measure_of_a_method_under_a_degradation_is_one_curve_over_the_scale():
    found = scale_metrics(
        report(
            rows({"1.5": 35.0, "2": 30.0, "2.375": 28.0, "mean": 31.0}),
            rows({"1.5": 0.9, "2": 0.8}, "ssim"),
            rows({"2": 25.0}, method="bicubic"),
            rows({"2": 27.0}, degradation="psf"),
            distances=rows({"2": 3.5}, "fid", key="value"),
        )
    )
    assert found == {
        0: {"psnr/paper/mine/mean": 31.0},
        150: {"psnr/paper/mine": 35.0, "ssim/paper/mine": 0.9},
        200: {
            "psnr/paper/mine": 30.0,
            "ssim/paper/mine": 0.8,
            "psnr/paper/bicubic": 25.0,
            "psnr/psf/mine": 27.0,
            "fid/paper/mine": 3.5,
        },
        238: {"psnr/paper/mine": 28.0},
    }


def test_a_scale_that_is_no_number_has_a_name_of_its_own():
    found = scale_metrics(report(rows({"1x2": 33.0, "2x1": 32.0, "1x1x4": 25.0, "2": 30.0})))
    assert found == {
        200: {"psnr/paper/mine/1x2": 33.0, "psnr/paper/mine/2x1": 32.0, "psnr/paper/mine": 30.0},
        400: {"psnr/paper/mine/1x1x4": 25.0},
    }


def test_what_is_not_finite_is_left_out_and_names_are_what_mlflow_takes():
    assert (
        scale_metrics(report(rows({"2": math.nan, "3": math.inf}), distances=rows({"2": -math.inf}, key="value"))) == {}
    )
    odd = rows({"2": 1.0}, method="a/b,c (new)", degradation="psf:fwhm=0.8,noise=0.02")
    assert scale_metrics(report(odd)) == {200: {"psnr/psf:fwhm_0.8_noise_0.02/a_b_c _new_": 1.0}}


def test_mlflow_has_one_curve_for_each_measure_of_each_method(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlruns.db"
    evaluation = SimpleNamespace(report=report(rows({"3": 1.0, "2": 2.0, "1x2": 4.0, "mean": 1.5})))
    engine = Engine(lambda *_: None)
    ScaleLog(evaluation, MLflowLog(uri, "miassr")).attach(engine)
    engine.run([0, 0])
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    name = "psnr/paper/mine"
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == {name, f"{name}/1x2", f"{name}/mean"}
    found = {
        key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics
    }
    assert found == {name: [(200, 2.0), (300, 1.0)], f"{name}/1x2": [(200, 4.0)], f"{name}/mean": [(0, 1.5)]}


def test_an_evaluation_does_without_mlflow_where_it_has_to(caplog):
    evaluation = SimpleNamespace(report=report(rows({"2": 1.0, "3": 2.0})))
    engine = Engine(lambda *_: None)
    ScaleLog(evaluation, MLflowLog("http://127.0.0.1:9", "miassr")).attach(engine)
    engine.run([0])
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("miassr")]
    assert told.startswith("MLflow at http://127.0.0.1:9 cannot be used, the run goes on without it: ")
