import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from miassr_monai.data import ScaleGridDataset, slices_collate
from miassr_monai.degradations import paper_degradation
from miassr_monai.engines import DegradeBatch
from miassr_monai.handlers import ScaleScores
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import Bicubic

SCALES = [2.5, 2.0, (1.0, 2.0)]
NAMES = {2.5: "2.5", 2.0: "2", (1.0, 2.0): "1x2"}
SLICES = {"a.nii.gz": 2, "b.nii.gz": 3}


class Brighter(Bicubic):
    def forward(self, x, scale):
        return super().forward(x, scale) + 0.05


def volumes():
    generator = torch.Generator().manual_seed(0)
    for name, slices in SLICES.items():
        image = torch.rand(1, 6, 6, slices, generator=generator).repeat_interleave(5, 1).repeat_interleave(4, 2)
        yield {"image": MetaTensor(image, meta={"filename_or_obj": f"/data/{name}"})}


@pytest.fixture(scope="module")
def evaluation():
    """Scores of a validation as the bundle makes it, its metrics, and the images that it compared."""
    scores = ScaleScores()
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(
            ScaleGridDataset(Dataset(list(volumes())), SCALES), batch_size=1, collate_fn=slices_collate
        ),
        network=Brighter(),
        prepare_batch=DegradeBatch(paper_degradation),
        inferer=SuperResolutionInferer(),
        val_handlers=[scores],
        decollate=False,
    )
    images = {}

    def keep(engine):
        key = engine.state.batch["name"].removeprefix("/data/"), NAMES[engine.state.batch["scale"]]
        images[key] = engine.state.output["label"][:, 0].numpy(), engine.state.output["pred"][:, 0].numpy()

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, keep)
    evaluator.run()
    return scores, evaluator, images


def truth(images):
    """PSNR and SSIM of every slice by scikit-image, by volume and scale."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1, "win_size": 11}
    psnr, ssim = {}, {}
    for key, (labels, predictions) in images.items():
        pairs = [(t.astype(np.float64), p.astype(np.float64)) for t, p in zip(labels, predictions, strict=True)]
        psnr[key] = [peak_signal_noise_ratio(t, p, data_range=1) for t, p in pairs]
        ssim[key] = [structural_similarity(t, p, **options) for t, p in pairs]
    return {"psnr": psnr, "ssim": ssim}


def mean_over_volumes(values, scale=None):
    means = []
    for name in SLICES:
        means.append(
            np.mean(np.concatenate([v for key, v in values.items() if key[0] == name and scale in (None, key[1])]))
        )
    return np.mean(means)


def test_every_slice_has_the_scores_of_scikit_image(evaluation):
    scores, _, images = evaluation
    expected = truth(images)
    assert len(scores.rows) == sum(SLICES.values()) * len(SCALES)
    for row in scores.rows:
        key = row["name"].removeprefix("/data/"), row["scale"]
        assert row["psnr"] == pytest.approx(expected["psnr"][key][row["slice"]], abs=1e-4)
        assert row["ssim"] == pytest.approx(expected["ssim"][key][row["slice"]], abs=1e-5)


def test_metrics_are_means_over_volumes_of_means_over_slices(evaluation):
    _, evaluator, images = evaluation
    expected = {}
    for measure, values in truth(images).items():
        expected[measure] = mean_over_volumes(values)
        expected |= {f"{measure}_x{scale}": mean_over_volumes(values, scale) for scale in NAMES.values()}
    assert evaluator.state.metrics == pytest.approx(expected, abs=1e-4)


def test_another_run_starts_anew(evaluation):
    scores, evaluator, _ = evaluation
    rows, metrics = list(scores.rows), dict(evaluator.state.metrics)
    evaluator.run()
    assert scores.rows == rows
    assert evaluator.state.metrics == metrics
    assert all(metric.get_buffer() is None for metric in scores.metrics.values())


def score(batches):
    """Metrics of an evaluation whose outputs are given."""
    engine = Engine(lambda engine, batch: batch["output"])
    engine.state.metrics = {}
    scores = ScaleScores()
    scores.attach(engine)
    engine.run(batches)
    return scores, engine.state.metrics


def make_batch(errors, name="a", scale=2.0):
    """Slices that are off by constants."""
    label = torch.rand(len(errors), 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prediction = label + torch.tensor(errors, dtype=torch.float64).view(-1, 1, 1, 1)
    return {"name": name, "scale": scale, "output": {"label": label, "pred": prediction}}


def test_volumes_are_scored_by_their_slices():
    batch = make_batch([0.1, 0.01, 0.001])
    slices, rows = score([batch])[1], batch["output"]
    batch["output"] = {key: images.movedim(0, -1).unsqueeze(0) for key, images in rows.items()}
    assert score([batch])[1] == pytest.approx(slices)
    assert slices["psnr"] == pytest.approx((20 + 40 + 60) / 3, abs=1e-3)


def test_slices_without_any_error_have_no_psnr_but_count_as_similar():
    scores, metrics = score([make_batch([0.0, 0.1]), make_batch([0.0], name="b")])
    assert [row["psnr"] for row in scores.rows] == [math.inf, pytest.approx(20, abs=1e-4), math.inf]
    assert metrics["psnr"] == metrics["psnr_x2"] == pytest.approx(20, abs=1e-4)
    a, b = [scores.rows[0]["ssim"], scores.rows[1]["ssim"]], scores.rows[2]["ssim"]
    assert a[0] == b == pytest.approx(1, abs=1e-6)
    assert metrics["ssim"] == pytest.approx((sum(a) / 2 + b) / 2)


def test_without_any_error_at_all_the_mean_psnr_is_undefined():
    assert math.isnan(score([make_batch([0.0])])[1]["psnr"])


def test_volumes_of_one_name_in_different_folders_are_different_volumes():
    _, metrics = score([make_batch([0.1, 0.1, 0.1], name="sub-1/t1.nii"), make_batch([0.01], name="sub-2/t1.nii")])
    assert metrics["psnr"] == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_channels_are_scored_each_and_one_that_is_empty_is_left_out():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 16, 14, generator=generator)
    truth[1, 2] = 0
    engine = Engine(
        lambda engine, batch: {"label": truth, "pred": truth + torch.tensor([0.1, 0.2, 0.4])[:, None, None]}
    )
    ScaleScores().attach(engine)
    engine.run([{"name": "a", "scale": 2.0}])
    metrics = engine.state.metrics
    each = [20.0, 20 * math.log10(5), 20 * math.log10(2.5)]
    for number, value in enumerate(each):
        assert metrics[f"psnr_channel_{number}"] == pytest.approx(value, abs=1e-3)
    expected = (np.mean(each) + np.mean(each[:2])) / 2
    assert metrics["psnr"] == metrics["psnr_x2"] == pytest.approx(expected, abs=1e-3)
    pair = truth[0, 1].numpy(), truth[0, 1].numpy() + np.float32(0.2)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    similarity = structural_similarity(*pair, **options)[1][5:-5, 5:-5].mean()
    other = structural_similarity(truth[1, 1].numpy(), truth[1, 1].numpy() + np.float32(0.2), **options)[1]
    assert metrics["ssim_channel_1"] == pytest.approx((similarity + other[5:-5, 5:-5].mean()) / 2, abs=1e-4)
