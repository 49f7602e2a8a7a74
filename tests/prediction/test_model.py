import hashlib
import json
import os

import pytest
import torch

from miassr_monai import Predictor
from miassr_monai.networks import EDSR, Bicubic, Linear, VolumeGenerator
from miassr_monai.prediction import TrainedModel, load_model, load_models


@pytest.fixture
def bundle(tmp_path, make_network):
    """Bundle folder with weights and metadata."""
    for name in ("models", "configs"):
        (tmp_path / "bundle" / name).mkdir(parents=True)
    torch.save(make_network().state_dict(), tmp_path / "bundle/models/model.pt")
    metadata = {"name": "brains", "version": "1.2.3", "trained_for": {"scales": [1.0, 3.0], "degradation": "psf"}}
    (tmp_path / "bundle/configs/metadata.json").write_text(json.dumps(metadata))
    return tmp_path / "bundle"


def test_a_bundle_and_its_weights_load_alike(bundle, make_network):
    truth = make_network().state_dict()
    for source in (bundle, bundle / "models/model.pt", str(bundle)):
        model = load_model(source, "cpu")
        assert (model.name, model.path) == ("brains", bundle / "models/model.pt")
        assert model.trained_for == {"scales": [1.0, 3.0], "degradation": "psf"}
        assert model.sha256 == hashlib.sha256((bundle / "models/model.pt").read_bytes()).hexdigest()
        assert not model.network.training
        for key, value in model.network.state_dict().items():
            torch.testing.assert_close(value, truth[key], rtol=0, atol=0)
    predictor = Predictor(bundle, device="cpu")
    predictor(torch.rand(1, 9, 8, 3), scale=2)
    shown = predictor.report["model"]
    assert (shown["name"], shown["version"], shown["file"]) == ("brains", "1.2.3", "model.pt")
    assert str(bundle) not in json.dumps(predictor.report)


def test_weights_on_their_own_are_named_by_their_file(tmp_path, make_network):
    torch.save(make_network().state_dict(), tmp_path / "mine.pt")
    model = load_model(tmp_path / "mine.pt", "cpu")
    assert (model.name, model.metadata, model.trained_for) == ("mine.pt", {}, {})


@pytest.mark.parametrize("name, network", [("bicubic", Bicubic), ("linear", Linear)])
def test_a_baseline_needs_no_file_and_upscales_a_volume(name, network):
    model = load_model(name, "cpu")
    assert type(model.network) is network
    assert (model.name, model.path, model.sha256, model.metadata) == (name, None, None, {})
    image = torch.rand(1, 9, 8, 3)
    predictor = Predictor(name, device="cpu")
    fine = predictor(image, scale=(2.0, 1.5, 1.0))
    assert fine.shape == (1, 18, 12, 3) and predictor.report["model"]["name"] == name
    expected = network()(image.movedim(-1, 0), (2.0, 1.5)).movedim(0, -1)
    torch.testing.assert_close(torch.as_tensor(fine), expected, rtol=0, atol=1e-5)


def test_a_network_needs_no_file(make_network):
    network = make_network().train()
    model = load_model(network, "cpu")
    assert model.network is network and not network.training
    assert (model.name, model.path) == ("MetaSRGenerator", None)
    assert Predictor(TrainedModel(network, "x")).model.name == "x"


def write_other_file(path, kind):
    """A file that holds no weights of a generator."""
    contents = {"tensor": torch.rand(3), "list": [1], "checkpoint": {"network": {}}, "class": {"x": nonsense}}
    if kind in contents:
        torch.save(contents[kind], path)
    else:
        path.write_bytes({"empty": b"", "text": b"hello there", "binary": bytes(range(256)), "gzip": b"\x1f\x8b"}[kind])


def nonsense():
    """What unpickling must not run."""


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("kind", ["tensor", "list", "checkpoint", "class", "empty", "text", "binary", "gzip"])
def test_another_file_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "model.pt"
    write_other_file(path, kind)
    with pytest.raises(ValueError) as caught:
        load_model(path)
    message = f"{path} does not hold the weights of a generator of miassr_monai: give a model.pt, not a checkpoint."
    assert str(caught.value) == message


def test_a_missing_file_and_a_folder_without_weights_are_named(tmp_path):
    for path, shown in ((tmp_path / "no.pt", tmp_path / "no.pt"), (tmp_path, tmp_path / "models/model.pt")):
        with pytest.raises(FileNotFoundError) as caught:
            load_model(path)
        assert str(caught.value).startswith(f"there is no model at {shown}: give a bundle folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_no_bad_file(bundle):
    (bundle / "models/model.pt").chmod(0)
    with pytest.raises(PermissionError):
        load_model(bundle)


@pytest.mark.parametrize("source", ["bicubic", "weights"])
@pytest.mark.parametrize(
    "device",
    ["gpu", "meta", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"))],
)
def test_a_device_that_is_not_there_is_refused(bundle, source, device):
    with pytest.raises(ValueError, match=f"the device '{device}' cannot be used here: give another, such as 'cpu'"):
        load_model("bicubic" if source == "bicubic" else bundle, device)


def test_several_models_keep_their_names_and_order(bundle, make_network):
    network = make_network().train()
    sources = {"mine": bundle, "z": "linear", "a": network, "weights": bundle / "models/model.pt"}
    models = load_models(sources, "cpu")
    assert list(models) == ["mine", "z", "a", "weights"]
    assert [model.name for model in models.values()] == ["brains", "linear", "MetaSRGenerator", "brains"]
    assert models["a"].network is network and not network.training
    assert models["mine"].sha256 == models["weights"].sha256 == load_model(bundle, "cpu").sha256
    assert models["mine"].network is not models["weights"].network
    for name, source in sources.items():
        image = torch.rand(1, 1, 7, 9)
        with torch.no_grad():
            expected = load_model(source, "cpu").network(image, 2.3)
            torch.testing.assert_close(models[name].network(image, 2.3), expected, rtol=0, atol=0)
    assert load_models({}) == {}


def test_several_models_are_put_on_the_device_that_is_asked_for(make_network, monkeypatch):
    asked, networks = [], {"a": make_network(), "b": make_network()}
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: asked.append(device) or self)
    load_models(networks, "cpu")
    assert asked == ["cpu", "cpu"]


def test_one_of_several_models_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model at .*no\.pt"):
        load_models({"a": "bicubic", "b": tmp_path / "no.pt"}, "cpu")


def test_baselines_see_what_the_others_see():
    assert load_models({"bicubic": "bicubic", "linear": "linear"}, "cpu")["linear"].network.spatial_dims == 2
    for spatial_dims in (2, 3):
        sources = {"bicubic": "bicubic", "mine": Linear(spatial_dims), "linear": "linear"}
        models = load_models(sources, "cpu")
        assert list(models) == ["bicubic", "mine", "linear"] and models["mine"].network is sources["mine"]
        assert [model.network.spatial_dims for model in models.values()] == [spatial_dims] * 3
        assert isinstance(models["bicubic"].network, Bicubic) and isinstance(models["linear"].network, Linear)


def test_built_in_weights_for_volumes_are_used_by_their_name(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = VolumeGenerator(EDSR(3, depth=1, width=4), feature_channels=4, depth=4, width=8, anisotropic=True).eval()
    for folder in ("models", "configs"):
        (tmp_path / folder).mkdir()
    torch.save(network.state_dict(), tmp_path / "models/model_volume.pt")
    differing = {"weights": {"model_volume.pt": {"scales": [1.0, 3.0]}}, "trained_for": {"scales": [1.0, 4.0]}}
    (tmp_path / "configs/metadata.json").write_text(json.dumps(differing))
    monkeypatch.setattr("miassr_monai.bundle.default_bundle", lambda: tmp_path)
    image = torch.rand(1, 5, 6, 7)
    low, high = image.aminmax()
    predictor = Predictor("volume", device="cpu", percentiles=(0, 100), consistency=None)
    fine = predictor(image, scale=(2, 1, 1.5))
    with torch.no_grad():
        expected = network((image[None] - low) / (high - low), (2.0, 1.0, 1.5))[0] * (high - low) + low
    torch.testing.assert_close(fine.as_tensor(), expected, rtol=0, atol=1e-5)
    assert predictor.model.trained_for["scales"] == [1.0, 3.0]
