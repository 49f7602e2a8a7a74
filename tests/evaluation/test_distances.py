import logging
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from miassr_monai.evaluation import feature_distances
from miassr_monai.metrics import frd, frechet_distance


class Features(nn.Module):
    """In place of Inception: the image's first two pixels."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return images[:, 0, 0, :2]


@pytest.fixture
def inception(monkeypatch):
    monkeypatch.setattr("miassr_monai.evaluation.distances.InceptionFeatures", Features)


def test_what_was_not_given_or_asked_for_is_left_out_with_the_reason():
    distances, left_out = feature_distances(with_frd=False)
    assert distances == {}
    assert left_out == {
        "fid": "no Inception-v3 weights were given (inception_path)",
        "frd": "not asked for (with_frd)",
    }


@pytest.mark.parametrize("package", ["frd_score", "radiomics"])
def test_a_missing_package_is_named_in_one_line_with_the_remedy(monkeypatch, package):
    for name in ("frd_score", "frd_score.frd", "radiomics", "SimpleITK"):
        module = ModuleType(name)
        module.logger = logging.getLogger(name)
        # None makes an import fail.
        monkeypatch.setitem(sys.modules, name, None if name == package else module)
    distances, left_out = feature_distances()
    assert distances == {}
    assert 'pip install "miassr-monai[eval]"' in left_out["frd"] and "\n" not in left_out["frd"]
    assert f"import of {package} halted" in left_out["frd"]


def test_frd_is_had_where_its_packages_are(monkeypatch):
    asked = []
    monkeypatch.setattr("miassr_monai.evaluation.distances.radiomics_features", asked.append)
    distances, left_out = feature_distances()
    assert list(distances) == ["frd"] and list(left_out) == ["fid"]
    assert distances["frd"].distance is frd
    distances["frd"].extract("images")
    # Once to see whether it works, and once by us.
    assert asked[0].shape == (1, 1, 32, 32) and asked[1] == "images"


def test_an_error_that_is_not_of_a_missing_package_is_not_swallowed(monkeypatch):
    def fail(images):
        raise ValueError("a bug")

    monkeypatch.setattr("miassr_monai.evaluation.distances.radiomics_features", fail)
    with pytest.raises(ValueError, match="a bug"):
        feature_distances()


def test_fid_is_the_frechet_distance_of_inceptions_features(inception):
    distances, left_out = feature_distances("weights.pth", "meta", with_frd=False)
    assert list(distances) == ["fid"] and list(left_out) == ["frd"]
    extract = distances["fid"].extract
    assert extract.path == "weights.pth" and extract.weight.device.type == "meta"
    assert distances["fid"].distance is frechet_distance
    # Squared distance of the means, where the sets are shifted copies of each other.
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    features = extract(images).numpy()
    assert distances["fid"].distance(features, features + np.array([0.3, 0.4])) == pytest.approx(0.25)


def test_weights_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no Inception-v3 weights at .*none\.pth"):
        feature_distances(tmp_path / "none.pth", with_frd=False)
