from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import VGG19Features
from miassr_monai.networks.vgg import vgg19_layers

# Index, input and output channels of torchvision's vgg19().features up to conv2_2.
CONV2_2 = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}
URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"


def random_weights():
    generator = torch.Generator().manual_seed(0)
    weights = {"classifier.0.weight": torch.zeros(2, 2), "features.10.weight": torch.zeros(2, 2)}
    for index, (n_in, n_out) in CONV2_2.items():
        weights[f"features.{index}.weight"] = torch.randn(n_out, n_in, 3, 3, generator=generator) / (3 * n_in**0.5)
        weights[f"features.{index}.bias"] = torch.randn(n_out, generator=generator)
    return weights


@pytest.fixture
def weights_path(tmp_path):
    path = tmp_path / "vgg19.pth"
    torch.save(random_weights(), path)
    return path


def normalise(x):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean[:, None, None]) / std[:, None, None]


def evaluate(x):
    weights = random_weights()

    def conv(index, value):
        return F.conv2d(value, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1)

    x = F.max_pool2d(conv(2, conv(0, normalise(x)).relu()).relu(), 2)
    return conv(7, conv(5, x).relu())


def test_keys_are_torchvision_s(weights_path):
    keys = [f"features.{index}.{kind}" for index in (0, 2, 5, 7) for kind in ("weight", "bias")]
    assert list(VGG19Features("conv2_2", weights_path).state_dict()) == keys


def test_every_convolution_is_where_torchvision_has_it():
    with torch.device("meta"):
        layers, index = vgg19_layers()
    counts = enumerate([2, 2, 4, 4, 4], 1)
    names = [f"conv{block}_{number}" for block, count in counts for number in range(1, count + 1)]
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert index == dict(zip(names, places, strict=True))
    assert [layers[place].out_channels for place in places] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert [place for place, layer in enumerate(layers) if isinstance(layer, torch.nn.MaxPool2d)] == [4, 9, 18, 27, 36]


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_features_are_those_of_the_convolution_before_its_activation(weights_path, size):
    x = torch.rand(2, 3, *size)
    features = VGG19Features("conv2_2", weights_path)(x)
    assert features.min() < 0
    torch.testing.assert_close(features, evaluate(x), rtol=1e-4, atol=1e-4)


def test_a_shallower_layer_takes_what_it_needs_from_the_same_file(weights_path):
    x = torch.rand(1, 3, 6, 6)
    features = VGG19Features("conv1_1", str(weights_path))(x)
    weights = random_weights()
    expected = F.conv2d(normalise(x), weights["features.0.weight"], weights["features.0.bias"], padding=1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_parameters_are_frozen_and_gradients_reach_the_image(weights_path):
    network = VGG19Features("conv2_2", weights_path)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    network(x).square().sum().backward()
    explicit = x.detach().clone().requires_grad_()
    evaluate(explicit).square().sum().backward()
    torch.testing.assert_close(x.grad, explicit.grad, rtol=1e-3, atol=1e-3 * explicit.grad.abs().max().item())


def test_weights_that_are_not_there_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no VGG19 weights at .*nowhere\.pth: give the path of https"):
        VGG19Features("conv2_2", tmp_path / "nowhere.pth")


@pytest.mark.parametrize("content", [{"net.0.weight": torch.zeros(3)}, {"features.0.weight": torch.zeros(3)}, [1]])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold the weights of VGG19 up to conv1_2"):
        VGG19Features("conv1_2", tmp_path / "other.pth")


def test_unknown_layers_are_refused(weights_path):
    with pytest.raises(ValueError, match="conv2_3"):
        VGG19Features("conv2_3", weights_path)


def test_without_a_path_the_checked_file_of_pytorch_is_loaded(monkeypatch):
    asked = []

    def load(url, **options):
        asked.append((url, options["check_hash"], options["weights_only"]))
        return random_weights()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(VGG19Features()(x), evaluate(x), rtol=1e-4, atol=1e-4)
    assert asked == [(URL, True, True)]


@pytest.mark.parametrize("error", [URLError("no route"), OSError("no space left"), RuntimeError("invalid hash value")])
def test_a_failed_download_names_its_cause_and_both_remedies(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(RuntimeError) as failure:
        VGG19Features()
    message = str(failure.value)
    for part in (URL, str(error), "weights_path", "--vgg_path", "eta 0", "--perceptual_weight 0"):
        assert part in message
