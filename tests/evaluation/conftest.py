import math

import pandas as pd
import pytest
from torch import nn

from miassr_monai.geometry import format_scale
from miassr_monai.metrics import SLICE_MEASURES
from miassr_monai.prediction import TrainedModel

# What the other measures of a slice are, given its PSNR.
OTHERS = {
    "ssim": lambda psnr: psnr / 100,
    "ms_ssim": lambda psnr: math.nan,
    "haarpsi": lambda psnr: psnr / 50,
    "psnr_foreground": lambda psnr: psnr - 3,
    "ssim_foreground": lambda psnr: psnr / 200,
    "haarpsi_foreground": lambda psnr: psnr / 150,
    "consistency": lambda psnr: 1 / psnr,
    "high_frequency": lambda psnr: psnr / 25,
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals that are rough, but quick."""
    monkeypatch.setattr("miassr_monai.metrics.statistics.RESAMPLES", 199)


@pytest.fixture
def quick_intervals(monkeypatch):
    """Intervals of the means of subjects that are none, where these are not what is tested."""
    interval = "miassr_monai.evaluation.summary.bootstrap_interval"
    monkeypatch.setattr(interval, lambda v: (min(v), max(v)) if len(v) > 1 else (math.nan, math.nan))


@pytest.fixture(scope="session")
def make_scores():
    """Function that makes scores of slices of the PSNR ``{(subject, volume, scale): [of each slice, ...]}``."""

    def make(psnr, method="model", degradation="paper", contrast=None, **measures):
        rows = []
        for (subject, volume, scale), values in psnr.items():
            place = {"volume": volume, "subject": subject, "contrast": contrast, "degradation": degradation}
            for number, value in enumerate(values):
                row = {**place, "scale": format_scale(scale), "slice": number, "method": method, "psnr": value}
                rows.append(row | {name: draw(value) for name, draw in OTHERS.items()} | measures)
        return pd.DataFrame(rows)[[*place, "scale", "slice", "method", *SLICE_MEASURES]]

    return make


@pytest.fixture(scope="session")
def make_models():
    """Function that makes methods of these names, the last with weights of a bundle."""

    def make(*names):
        models = {name: TrainedModel(nn.Identity(), f"network of {name}") for name in names}
        metadata = {"trained_for": {"degradations": ["psf", "kspace"]}}
        models[names[-1]] = TrainedModel(nn.Identity(), f"network of {names[-1]}", None, "12ab", metadata)
        return models

    return make
