import pytest
import torch
import torch.nn.functional as F

from miassr_monai.losses import VGGPerceptualLoss

# Index, input and output channels of torchvision's vgg19().features up to conv2_2.
CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for index, (n_in, n_out) in CONVOLUTIONS.items():
        weights[f"features.{index}.weight"] = torch.randn(n_out, n_in, 3, 3, generator=generator) / (3 * n_in**0.5)
        weights[f"features.{index}.bias"] = torch.randn(n_out, generator=generator)
    return weights


@pytest.fixture(scope="module")
def weights_path(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def loss_function(weights_path):
    return VGGPerceptualLoss(weights_path=weights_path)


@pytest.fixture(scope="module")
def features(weights):
    """Features of images (N, 1, H, W) before the activation of conv2_2, or of conv1_2, in float64."""

    def conv(index, x):
        weight, bias = (weights[f"features.{index}.{kind}"].double() for kind in ("weight", "bias"))
        return F.conv2d(x, weight, bias, padding=1)

    def evaluate(x, layer="conv2_2"):
        mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
        rgb = (torch.cat([x.double()] * 3, 1) - mean[:, None, None]) / std[:, None, None]
        x = conv(2, conv(0, rgb).relu())
        return x if layer == "conv1_2" else conv(7, conv(5, F.max_pool2d(x.relu(), 2)).relu())

    return evaluate


def random_images(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_loss_of_grayscale_images_is_the_mean_squared_difference_of_conv2_2(loss_function, features):
    prediction, target = random_images(2, 1, 8, 10, seed=1), random_images(2, 1, 8, 10, seed=2)
    expected = (features(prediction) - features(target)).square().mean()
    assert loss_function(prediction, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_another_layer_can_be_chosen(weights_path, features):
    prediction, target = random_images(1, 1, 6, 6, seed=1), random_images(1, 1, 6, 6, seed=2)
    expected = (features(prediction, "conv1_2") - features(target, "conv1_2")).square().mean()
    loss = VGGPerceptualLoss("conv1_2", weights_path)(prediction, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_loss_of_several_channels_is_the_mean_of_the_channels_losses(loss_function, features, channels):
    prediction, target = random_images(2, channels, 8, 8, seed=1), random_images(2, channels, 8, 8, seed=2)
    pairs = zip(prediction.split(1, dim=1), target.split(1, dim=1), strict=True)
    single = [(features(p) - features(t)).square().mean().item() for p, t in pairs]
    assert loss_function(prediction, target).item() == pytest.approx(sum(single) / channels, rel=1e-5)


def test_the_gradient_goes_to_the_prediction_alone(loss_function, features):
    prediction = random_images(2, 1, 8, 8, seed=1).requires_grad_()
    target = random_images(2, 1, 8, 8, seed=2).requires_grad_()
    loss_function(prediction, target).backward()
    assert target.grad is None
    assert all(parameter.grad is None for parameter in loss_function.parameters())
    explicit = prediction.detach().double().requires_grad_()
    (features(explicit) - features(target).detach()).square().mean().backward()
    scale = explicit.grad.abs().max().item()
    torch.testing.assert_close(prediction.grad.double(), explicit.grad, rtol=0, atol=1e-4 * scale)


def test_missing_weights_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no VGG19 weights at .*nowhere\.pth"):
        VGGPerceptualLoss(weights_path=tmp_path / "nowhere.pth")
