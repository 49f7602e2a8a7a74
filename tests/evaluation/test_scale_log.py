import math
from types import SimpleNamespace

from ignite.engine import Engine

from miassr_monai.evaluation import ScaleLog, scale_metrics


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


def test_the_log_gets_the_steps_in_their_order_and_is_closed():
    told = []
    log = SimpleNamespace(
        log_metrics=lambda metrics, step: told.append((step, metrics)), close=lambda: told.append("closed")
    )
    handler = ScaleLog(SimpleNamespace(report=report(rows({"3": 1.0, "2": 2.0, "mean": 1.5}))), log)
    engine = Engine(lambda *_: None)
    handler.attach(engine)
    engine.run([0, 0])
    name = "psnr/paper/mine"
    assert told == [(0, {f"{name}/mean": 1.5}), (200, {name: 2.0}), (300, {name: 1.0}), "closed"]
