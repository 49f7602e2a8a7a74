import math
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import InceptionFeatures

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"


def block_a(n, pool):
    return {
        "branch1x1": (64, n, 1, 1),
        "branch5x5_1": (48, n, 1, 1),
        "branch5x5_2": (64, 48, 5, 5),
        "branch3x3dbl_1": (64, n, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
        "branch_pool": (pool, n, 1, 1),
    }


def block_c(c):
    return {
        "branch1x1": (192, 768, 1, 1),
        "branch7x7_1": (c, 768, 1, 1),
        "branch7x7_2": (c, c, 1, 7),
        "branch7x7_3": (192, c, 7, 1),
        "branch7x7dbl_1": (c, 768, 1, 1),
        "branch7x7dbl_2": (c, c, 7, 1),
        "branch7x7dbl_3": (c, c, 1, 7),
        "branch7x7dbl_4": (c, c, 7, 1),
        "branch7x7dbl_5": (192, c, 1, 7),
        "branch_pool": (192, 768, 1, 1),
    }


def block_e(n):
    return {
        "branch1x1": (320, n, 1, 1),
        "branch3x3_1": (384, n, 1, 1),
        "branch3x3_2a": (384, 384, 1, 3),
        "branch3x3_2b": (384, 384, 3, 1),
        "branch3x3dbl_1": (448, n, 1, 1),
        "branch3x3dbl_2": (384, 448, 3, 3),
        "branch3x3dbl_3a": (384, 384, 1, 3),
        "branch3x3dbl_3b": (384, 384, 3, 1),
        "branch_pool": (192, n, 1, 1),
    }


BLOCKS = {
    "Mixed_5b": block_a(192, 32),
    "Mixed_5c": block_a(256, 64),
    "Mixed_5d": block_a(288, 64),
    "Mixed_6a": {
        "branch3x3": (384, 288, 3, 3),
        "branch3x3dbl_1": (64, 288, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
    },
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": {
        "branch3x3_1": (192, 768, 1, 1),
        "branch3x3_2": (320, 192, 3, 3),
        "branch7x7x3_1": (192, 768, 1, 1),
        "branch7x7x3_2": (192, 192, 1, 7),
        "branch7x7x3_3": (192, 192, 7, 1),
        "branch7x7x3_4": (192, 192, 3, 3),
    },
    "Mixed_7b": block_e(1280),
    "Mixed_7c": block_e(2048),
}

# Shapes of the convolutions' weights by torchvision's names, in its order.
CONVOLUTIONS = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
} | {f"{block}.{branch}": shape for block, branches in BLOCKS.items() for branch, shape in branches.items()}

# Some features of torchvision 0.28's Inception3 with FID's pools put in, for the weights and images of the formulae
# below, by channels, height and width of the images.
FEATURES = [0, 319, 320, 703, 704, 1087, 1088, 1471, 1472, 1855, 1856, 2047]
REFERENCE = {
    (3, 40, 52): [
        [0.17056, 0.0, 0.0, 5.15626, 6.57225, 0.57889, 2.7795, 5.52246, 0.19513, 0.0, 12.00996, 5.42724],
        [0.16313, 0.0, 0.0, 5.45096, 7.03544, 0.69442, 3.16168, 5.97129, 0.18043, 0.0, 12.98911, 5.8449],
    ],
    (1, 310, 301): [
        [0.15276, 0.0, 0.04495, 7.62732, 10.75063, 0.94924, 3.63632, 8.02545, 0.20119, 0.0, 18.51266, 7.77525],
        [0.17094, 0.0, 0.0, 8.10919, 11.17688, 0.74943, 4.0872, 9.21451, 0.24355, 0.0, 18.07515, 7.76842],
    ],
}


def scattered(shape, seed):
    """Numbers from -0.5 to 0.5 that look random and are the same with every random number generator."""
    k = np.arange(1, 1 + math.prod(shape), dtype=np.float64)
    return torch.from_numpy(np.mod(np.sin(12.9898 * k + 78.233 * seed) * 43758.5453, 1) - 0.5).float().reshape(shape)


def weights_of_formula():
    weights = {}
    for name, shape in CONVOLUTIONS.items():
        seed = len(weights)
        weights[f"{name}.conv.weight"] = scattered(shape, seed) * math.sqrt(24 / math.prod(shape[1:]))
        weights[f"{name}.bn.weight"] = 1 + scattered(shape[:1], seed + 1) / 2
        weights[f"{name}.bn.bias"] = 0.4 * scattered(shape[:1], seed + 2)
        weights[f"{name}.bn.running_mean"] = 0.4 * scattered(shape[:1], seed + 3)
        weights[f"{name}.bn.running_var"] = 1 + scattered(shape[:1], seed + 4)
    return weights


def images_of_formula(channels, height, width):
    """Two images with values from -0.2 to 1.2."""
    axes = [torch.arange(n, dtype=torch.float64) for n in (2, channels, height, width)]
    image, channel, y, x = torch.meshgrid(*axes, indexing="ij")
    return (0.5 + 0.7 * torch.sin(0.3 * y + 0.2 * (image + 1) * x + 0.9 * channel)).float()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    not_needed = {"fc.weight": torch.zeros(1008, 2048), "AuxLogits.conv0.conv.weight": torch.zeros(2, 2)}
    torch.save(weights_of_formula() | not_needed, path)
    network = InceptionFeatures(path)
    path.unlink()
    return network


def test_keys_and_shapes_are_torchvision_s(network):
    kinds = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
    state = network.state_dict()
    assert list(state) == [f"{name}.{kind}" for name in CONVOLUTIONS for kind in kinds]
    assert {name: tuple(state[f"{name}.conv.weight"].shape) for name in CONVOLUTIONS} == CONVOLUTIONS


def test_parameters_are_as_many_as_the_convolutions_have(network):
    total = sum(math.prod(shape) + 2 * shape[0] for shape in CONVOLUTIONS.values())
    # torchvision's Inception3 without its classifiers.
    assert total == 21_785_568
    assert sum(parameter.numel() for parameter in network.parameters()) == total


@pytest.mark.parametrize("size", REFERENCE)
def test_features_are_those_of_torchvision_with_the_pools_of_fid(network, size):
    features = network(images_of_formula(*size))
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features[:, FEATURES], torch.tensor(REFERENCE[size]), rtol=1e-3, atol=1e-3)


def mean_inside(x):
    """Mean over 3 x 3 pixels, of those that are inside of the image."""
    ones = torch.ones(x.shape[1], 1, 3, 3)
    total, count = (F.conv2d(value, ones, padding=1, groups=x.shape[1]) for value in (x, torch.ones_like(x)))
    return total / count


def largest_inside(x):
    """Maximum over 3 x 3 pixels, of those that are inside of the image."""
    padded = F.pad(x, (1, 1, 1, 1), value=-math.inf)
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).amax((-2, -1))


@pytest.mark.parametrize("name", [name for name, branches in BLOCKS.items() if "branch_pool" in branches])
def test_the_pool_of_a_block_leaves_out_the_padding(network, name):
    channels, inputs, _, _ = BLOCKS[name]["branch_pool"]
    state, prefix = network.state_dict(), f"{name}.branch_pool"
    x = 1 + scattered((1, inputs, 4, 5), 7)
    pooled = largest_inside(x) if name == "Mixed_7c" else mean_inside(x)
    mean, variance = state[f"{prefix}.bn.running_mean"], state[f"{prefix}.bn.running_var"]
    scale, shift = state[f"{prefix}.bn.weight"], state[f"{prefix}.bn.bias"]
    y = F.conv2d(pooled, state[f"{prefix}.conv.weight"]).movedim(1, -1)
    y = ((y - mean) / (variance + 0.001).sqrt() * scale + shift).relu().movedim(-1, 1)
    torch.testing.assert_close(network.get_submodule(name)(x)[:, -channels:], y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Mixed_6a", "Mixed_7a"])
def test_a_reducing_block_passes_on_the_maxima_of_its_input(network, name):
    channels = {"Mixed_6a": 288, "Mixed_7a": 768}[name]
    x = scattered((1, channels, 9, 7), 3)
    maxima = x.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))
    torch.testing.assert_close(network.get_submodule(name)(x)[:, -channels:], maxima, rtol=0, atol=0)


def test_a_grey_image_has_the_features_of_its_three_equal_channels(network):
    grey = images_of_formula(1, 30, 20)[:1]
    torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)


def test_values_outside_of_0_to_1_are_clipped(network):
    images = images_of_formula(1, 30, 20)[:1]
    assert images.min() < 0 and images.max() > 1
    torch.testing.assert_close(network(images), network(images.clip(0, 1)), rtol=0, atol=0)


def test_the_network_is_frozen(network):
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network(torch.rand(1, 1, 8, 8, requires_grad=True)).requires_grad


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (1, 8, 8)])
def test_images_of_another_shape_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"got images of shape \(.*8, 8\): give it \(N, 1 or 3, H, W\)"):
        network(torch.rand(shape))


def test_weights_that_are_not_there_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no Inception-v3 weights at .*nowhere\.pth: give the path of https"):
        InceptionFeatures(tmp_path / "nowhere.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    weights = {"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3), "features.0.weight": torch.zeros(2, 2)}
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"other\.pth lack Conv2d_1a_3x3\.bn\.weight and 468 more: give https"):
        InceptionFeatures(path)


@pytest.mark.parametrize("arguments", [(), ("http://localhost/mirror.pth",)])
def test_a_url_is_downloaded_and_checked(monkeypatch, network, arguments):
    asked = []

    def load(url, **options):
        asked.append((url, options["check_hash"], options["weights_only"]))
        return network.state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    x = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(InceptionFeatures(*arguments)(x), network(x), rtol=0, atol=0)
    assert asked == [(*(arguments or (URL,)), True, True)]


@pytest.mark.parametrize("error", [URLError("no route"), OSError("no space left"), RuntimeError("invalid hash value")])
def test_a_failed_download_names_its_cause_and_a_remedy(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(RuntimeError) as failure:
        InceptionFeatures()
    for part in (URL, str(error), "weights_path"):
        assert part in str(failure.value)
