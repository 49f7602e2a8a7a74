import math
from copy import deepcopy
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from make import small_trunk
from monai.data import MetaTensor

from miassr_monai.geometry import zoomed_affine
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, RDN, ResCNN, SRResNet, VolumeGenerator, load_network
from miassr_monai.networks.upscalers import ImplicitUpscale
from miassr_monai.resampling import cubic_matrix

SMALL = {"feature_channels": 5, "depth": 4, "width": 6}
ANY_SCALE = pytest.mark.parametrize("scale", [1.0, 2.0, 2.37, math.pi, (1.0, 1.0, 3.3)], ids=str)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(in_channels=1, *, trunk="EDSR", **options):
    """A generator whose decoder is not what a new one is."""
    network = VolumeGenerator(small_trunk(trunk, 3, in_channels), **{**SMALL, "anisotropic": True, **options})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("upscale", "restore")):
                parameter.normal_(0, 0.5)
    return network.double().eval()


def tricubic(x, scale):
    scales = [Fraction(s).limit_denominator(10_000) for s in (scale if isinstance(scale, tuple) else (scale,) * 3)]
    for axis, s in enumerate(scales, start=2):
        matrix = cubic_matrix(x.size(axis), math.floor(x.size(axis) * s), s.denominator, s.numerator)
        x = torch.tensordot(x, matrix, ([axis], [1])).movedim(-1, axis)
    return x


@pytest.mark.parametrize(
    ("trunk", "encoder"),
    [
        (lambda: RDN(3, depth=8, layers=3, growth=64), 5_918_784),
        (lambda: ResCNN(3), 2_214_912),
        (lambda: EDSR(3, depth=18, negative_slope=0.0), 4_317_376),
        # The slope of the PReLU is one more.
        (lambda: SRResNet(3, depth=18, batch_norm=False), 4_317_377),
    ],
    ids=["RDN", "ResCNN", "SRResNet", "SRResNet with PReLU"],
)
def test_published_networks_have_the_parameters_of_their_architecture(trunk, encoder):
    with torch.device("meta"):
        network = VolumeGenerator(trunk(), coordinates="global")
    assert sum(p.numel() for p in network.parameters()) == encoder + 364_676


@torch.no_grad()
@ANY_SCALE
@pytest.mark.parametrize("coordinates", ["relative", "global"])
def test_the_volume_is_the_decoders_of_trunk_and_convolution(coordinates, scale):
    network = small(2, coordinates=coordinates)
    x = torch.rand(2, 2, 3, 4, 2, dtype=torch.float64)
    weight, bias = network.features.weight, network.features.bias
    expected = network.upscale(F.conv3d(network.trunk(x), weight, bias, padding=1), scale)
    torch.testing.assert_close(network(x, scale), expected, rtol=0, atol=1e-12)
    assert expected.min() == 0 < expected.max()


@torch.no_grad()
@ANY_SCALE
def test_a_new_network_with_a_skip_is_tricubic_interpolation(scale):
    network, x = (
        VolumeGenerator(small_trunk(spatial_dims=3), skip="tricubic", anisotropic=True),
        torch.rand(2, 1, 4, 3, 5),
    )
    torch.testing.assert_close(network(x, scale).double(), tricubic(x.double(), scale), rtol=0, atol=1e-6)


@torch.no_grad()
@ANY_SCALE
def test_the_skip_adds_tricubic_interpolation_of_the_restored_image(scale):
    network, plain = small(2, skip="tricubic"), small(2)
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if k != "_extra_state"}, strict=False)
    # Without a skip there are no negative intensities.
    plain.upscale.positive = False
    x = torch.rand(1, 2, 3, 4, 2, dtype=torch.float64)
    restored = x + 0.1 * F.conv3d(network.trunk(x), network.restore.weight, network.restore.bias, padding=1)
    expected = tricubic(restored, scale) + 0.1 * plain(x, scale)
    assert (restored - x).abs().max() > 0.01
    torch.testing.assert_close(network(x, scale), expected, rtol=0, atol=1e-10)
    samples = torch.randint(expected[0, 0].numel(), (1, 9))
    wanted = network(x, scale, samples=samples)
    torch.testing.assert_close(wanted, expected.flatten(2)[..., samples[0]], rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("coordinates", ["relative", "global"])
@pytest.mark.parametrize("trunk", ["EDSR", "RDN", "ResCNN", "SRResNet"])
@pytest.mark.parametrize("scale", [2.0, 2.37, (1.0, 3.3, 1.7)], ids=str)
def test_tiles_are_the_whole_and_nothing_is_evaluated_twice(monkeypatch, trunk, scale, coordinates):
    network = small(trunk=trunk, skip="tricubic", coordinates=coordinates).float()
    x = torch.rand(1, 1, network.halo + 16, 4, 3)
    whole = SuperResolutionInferer()(x, network, scale=scale)
    decode, voxels = ImplicitUpscale.decode, []

    def counted(self, tables, index, weight):
        voxels.append(index[..., 0].numel())
        return decode(self, tables, index, weight)

    monkeypatch.setattr(ImplicitUpscale, "decode", counted)
    # Tiles of a volume have as many voxels as those of slices have pixels: 9 along an axis.
    tiled = SuperResolutionInferer(tile_size=27)(x, network, scale=scale)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    assert whole.abs().max() > 0.5
    assert sum(voxels) == whole.numel()


def interpolating():
    """A generator that makes trilinear interpolation of positive volumes, with nothing added."""
    network = VolumeGenerator(EDSR(3, width=2, depth=1), **SMALL, anisotropic=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.trunk.head.weight[0, 0, 1, 1, 1] = 1
        network.features.weight[0, 0, 1, 1, 1] = 1
        for layer in network.upscale.second:
            layer.weight[0, 0] = 1
    return network.double()


@torch.no_grad()
@pytest.mark.parametrize("tile_size", [None, 15])
@pytest.mark.parametrize("scale", [2.0, 2.5, (1.0, 3.3, 1.7)], ids=str)
def test_features_are_interpolated_where_the_affine_says_that_voxels_are(affine, world_ramp, scale, tile_size):
    """A volume that is linear in world coordinates stays so, by the affine of the finer grid, but for its border."""
    ramp = world_ramp((9, 6, 5), affine)
    offset = 1 - ramp.min()
    batch = MetaTensor((ramp + offset)[None, None], affine=affine)
    fine = SuperResolutionInferer(tile_size=tile_size)(batch, interpolating(), scale=scale)
    scales = scale if isinstance(scale, tuple) else (scale,) * 3
    torch.testing.assert_close(fine.affine, zoomed_affine(affine, scales))
    expected = world_ramp(fine.shape[2:], fine.affine) + offset
    inner = [slice(math.ceil(s), n - math.ceil(s)) for n, s in zip(fine.shape[2:], scales, strict=True)]
    torch.testing.assert_close(fine[0, 0].as_tensor()[tuple(inner)], expected[tuple(inner)], rtol=0, atol=1e-9)


def test_attributes_say_how_it_is_to_be_used():
    network = small(3)
    assert (network.spatial_dims, network.in_channels, network.anisotropic) == (3, 3, True)
    assert (network.halo, network.max_scale) == (network.trunk.halo + 2, math.inf)
    assert small(skip="tricubic").halo == network.trunk.halo + 4
    assert not network.needs_whole_size and small(coordinates="global").needs_whole_size


@torch.no_grad()
def test_global_coordinates_of_a_part_need_the_size_of_the_whole():
    network, x = small(coordinates="global"), torch.rand(1, 1, 5, 4, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="give its size with a part of it"):
        network(x, 2.0, origin=(1, 0, 0))
    torch.testing.assert_close(network(x, 2.0, whole_size=(5, 4, 4)), network(x, 2.0), rtol=0, atol=0)
    assert not torch.equal(network(x, 2.0, whole_size=(6, 4, 4)), network(x, 2.0))


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{}, {"coordinates": "global"}, {"skip": "tricubic", "anisotropic": False}], ids=str
)
def test_a_file_makes_the_network_that_it_is_of(tmp_path, options):
    network = small(trunk="SRResNet", **options).float()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    rebuilt, x = load_network(tmp_path / "model.pt").eval(), torch.rand(1, 1, 4, 3, 5)
    assert rebuilt.definition() == network.definition()
    torch.testing.assert_close(rebuilt(x, 2.5), network(x, 2.5), rtol=0, atol=0)


def test_a_few_steps_on_some_voxels_learn_the_whole():
    network = VolumeGenerator(EDSR(3, width=8, depth=1), feature_channels=8, depth=4, width=16, skip="tricubic")
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    axes = torch.meshgrid(*[torch.arange(12.0)] * 3, indexing="ij")
    truth = torch.sin(sum(axes) * 1.1).expand(1, 1, -1, -1, -1)
    coarse = F.avg_pool3d(truth, 2)
    before = (network(coarse) - truth).abs().mean()
    for _ in range(80):
        samples = torch.randint(truth.numel(), (1, 300))
        loss = (network(coarse, samples=samples) - truth.flatten(2)[..., samples[0]]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(coarse) - truth).abs().mean() < 0.6 * before


@torch.no_grad()
def test_autocast_is_close_to_single_precision():
    network, x = VolumeGenerator(EDSR(3, width=8, depth=1), skip="tricubic"), torch.rand(1, 1, 4, 5, 3)
    torch.nn.init.normal_(network.upscale.second[-1].weight, 0, 2.0)
    expected = network(x, 2.3)
    with torch.autocast("cpu", torch.bfloat16):
        image = network(x, 2.3)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("trunk", "options", "message"),
    [
        (lambda: EDSR(2, width=4, depth=1), {}, "works on volumes: give a trunk with spatial_dims=3"),
        (lambda: small_trunk("MDSR", 3, scales=(2,)), {}, r"does all scales alike: give a trunk with scales=\(\)"),
        (lambda: EDSR(3, width=4, depth=1), {"skip": "bicubic"}, "bicubic"),
        (lambda: EDSR(3, width=4, depth=1), {"coordinates": "local"}, "local"),
    ],
)
def test_networks_that_cannot_be_are_refused(trunk, options, message):
    with pytest.raises(ValueError, match=message):
        VolumeGenerator(trunk(), **options)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 4), (1, 4, 4, 4), (1, 1, 4, 4)])
def test_volumes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs volumes of shape \(N, 1, h, w, d\)"):
        small()(torch.zeros(shape), 2.0)


def test_a_copy_is_a_network_of_its_own():
    network, x = small(), torch.rand(1, 1, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(deepcopy(network)(x, 2.0), network(x, 2.0), rtol=0, atol=0)
