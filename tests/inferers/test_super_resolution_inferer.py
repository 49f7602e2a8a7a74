import math

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, Bicubic, Linear

SLICE_AXES = pytest.mark.parametrize("slice_axis", [-1, 0, 1, 2])
OTHER_AFFINE = torch.tensor(
    [[0.0, 0.0, 2.0, 4.0], [-0.9, 0.1, 0.0, 5.0], [0.1, 0.8, 0.0, 6.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)


def bilinear(x, scale):
    """Interpolation that keeps a ramp a ramp, away from the border."""
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


class Recorder:
    """Network that keeps what it was called with."""

    def __init__(self):
        self.chunks, self.args, self.kwargs = [], [], []

    def __call__(self, x, *args, **kwargs):
        self.chunks.append(x)
        self.args.append(args)
        self.kwargs.append(kwargs)
        return bilinear(x, kwargs["scale"])


class Encoder(Bicubic):
    """Network on volumes that is not linear and sees the volume's border: convolutions, then interpolation."""

    def __init__(self):
        super().__init__(3)
        self.trunk = EDSR(3, 1, width=3, depth=1).double()
        self.halo = self.trunk.halo + 3

    def forward(self, x, scale, origin=(0, 0, 0)):
        return super().forward(self.trunk(x), scale, origin)


def random_image(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 2), *[st.integers(1, 6)] * 3),
    slice_axis=st.integers(-3, 2),
    slice_batch_size=st.integers(1, 8),
    scale=st.sampled_from([1.0, 2.0, 2.3, (1.0, 2.5), (3.7, 1.1)]),
)
def test_a_volume_is_super_resolved_slice_by_slice(shape, slice_axis, slice_batch_size, scale):
    volumes = random_image(*shape)
    out = SuperResolutionInferer(slice_batch_size, slice_axis=slice_axis)(volumes, Bicubic(), scale=scale)
    axis = slice_axis % 3 + 1
    assert len(out) == len(volumes) and out.size(axis + 1) == volumes.size(axis + 1)
    for volume, fine in zip(volumes, out, strict=True):
        for index in range(volume.size(axis)):
            expected = Bicubic()(volume.select(axis, index).unsqueeze(0), scale)[0]
            torch.testing.assert_close(fine.select(axis, index), expected, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 3), *[st.integers(1, 6)] * 2),
    slice_axis=st.integers(-3, 2),
    slice_batch_size=st.integers(1, 8),
)
def test_images_are_slices_themselves(shape, slice_axis, slice_batch_size):
    images = random_image(*shape)
    out = SuperResolutionInferer(slice_batch_size, slice_axis=slice_axis)(images, Bicubic(), scale=2.5)
    torch.testing.assert_close(out, Bicubic()(images, 2.5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 1, 3, 4, 5), (10, 1, 3, 4)])
@pytest.mark.parametrize("slice_batch_size", [1, 3, 4, 10, 99])
def test_no_more_slices_go_together_than_allowed(shape, slice_batch_size):
    network = Recorder()
    SuperResolutionInferer(slice_batch_size)(torch.zeros(shape), network, scale=2.0)
    sizes = [len(chunk) for chunk in network.chunks]
    volumes = shape[0] if len(shape) == 5 else 1
    assert sum(sizes) == 10
    assert len(sizes) == volumes * math.ceil(10 // volumes / slice_batch_size)
    assert max(sizes) <= slice_batch_size
    assert all(chunk.shape[1:] == (1, 3, 4) for chunk in network.chunks)


@pytest.mark.parametrize("scale", [2.3, (1.5, 4.0)])
def test_the_scale_and_further_arguments_reach_the_network_as_they_are(scale):
    network = Recorder()
    SuperResolutionInferer(2)(torch.zeros(1, 1, 2, 2, 3), network, "extra", scale=scale, gain=5)
    assert network.args == [("extra",)] * 2
    assert network.kwargs == [{"scale": scale, "gain": 5}] * 2


def test_progress_sees_every_chunk_once_and_the_total():
    seen, totals = [], []

    def progress(jobs, total):
        totals.append(total)
        for job in jobs:
            seen.append((job.group, job.members.start, job.members.stop))
            yield job

    volume = random_image(2, 1, 3, 3, 7)
    out = SuperResolutionInferer(3, progress=progress)(volume, Bicubic(), scale=2.0)
    assert totals == [6]
    assert seen == [(group, first, end) for group in (0, 1) for first, end in ((0, 3), (3, 6), (6, 7))]
    torch.testing.assert_close(out, SuperResolutionInferer(3)(volume, Bicubic(), scale=2.0), rtol=0, atol=0)


def test_the_network_sees_plain_tensors_and_plain_tensors_stay_plain():
    volume, network = random_image(1, 1, 3, 4, 5), Recorder()
    assert type(SuperResolutionInferer()(volume, network, scale=2.0)) is torch.Tensor
    SuperResolutionInferer()(MetaTensor(volume), network, scale=2.0)
    assert {type(chunk) for chunk in network.chunks} == {torch.Tensor}


def batch_of(affines, size, draw):
    """Batch from a data loader, as in an evaluator, of images that ``draw(size, affine)`` makes."""
    items = [
        {"image": MetaTensor(draw(size, a).unsqueeze(0), affine=a, meta={"filename_or_obj": f"{i}.nii"})}
        for i, a in enumerate(affines)
    ]
    return next(iter(DataLoader(Dataset(items), batch_size=len(items))))["image"]


@SLICE_AXES
@pytest.mark.parametrize("scale", [1.5, 2.0, 3.7, (1.0, 2.5), (3.7, 1.5)])
def test_each_volume_of_a_batch_has_the_values_that_its_own_affine_promises(world_ramp, affine, scale, slice_axis):
    batch = batch_of([affine, OTHER_AFFINE], (7, 8, 9), world_ramp)
    out = SuperResolutionInferer(4, slice_axis=slice_axis)(batch, bilinear, scale=scale)
    assert out.affine.shape == (2, 4, 4)
    for index, item in enumerate(decollate_batch(out)):
        torch.testing.assert_close(item.affine, out.affine[index], rtol=0, atol=0)
        difference = item.as_tensor()[0] - world_ramp(item.shape[1:], item.affine)
        inner = difference.movedim(slice_axis, 0)[:, 2:-2, 2:-2]
        assert inner.numel() > 10
        torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [2.0, 2.5, (1.5, 3.0)])
def test_each_2d_image_of_a_batch_has_the_values_that_its_own_affine_promises(world_ramp, affine, scale):
    batch = batch_of([affine, OTHER_AFFINE], (8, 10), world_ramp)
    for index, item in enumerate(decollate_batch(SuperResolutionInferer(1)(batch, bilinear, scale=scale))):
        inner = (item.as_tensor()[0] - world_ramp(item.shape[1:], item.affine))[3:-3, 3:-3]
        assert inner.numel() > 10
        torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-9)
        torch.testing.assert_close(item.affine[:, 2], [affine, OTHER_AFFINE][index][:, 2])


@SLICE_AXES
@pytest.mark.parametrize("scale", [2.3, (1.5, 4.0)])
def test_the_outer_corner_stays_and_only_the_in_plane_spacing_shrinks(world_ramp, affine, scale, slice_axis):
    batch = batch_of([affine], (3, 4, 5), world_ramp)
    (item,) = decollate_batch(SuperResolutionInferer(slice_axis=slice_axis)(batch, Bicubic(), scale=scale))
    before, after = affine.numpy(), item.affine.numpy()
    corner = [-0.5, -0.5, -0.5, 1.0]
    np.testing.assert_allclose(after @ corner, before @ corner, atol=1e-9)
    factors = np.insert(np.broadcast_to(scale, 2), slice_axis % 3, 1.0)
    np.testing.assert_allclose(nib.affines.voxel_sizes(after) * factors, nib.affines.voxel_sizes(before), atol=1e-9)
    np.testing.assert_allclose(after[:3, :3] * factors, before[:3, :3], atol=1e-9)


@pytest.mark.parametrize("size", [(3, 4), (3, 4, 5)])
def test_metadata_of_each_item_is_kept_and_the_input_is_not_touched(world_ramp, affine, size):
    batch = batch_of([affine, OTHER_AFFINE], size, world_ramp)
    before = batch.as_tensor().clone()
    out = SuperResolutionInferer()(batch, Bicubic(), scale=2.0)
    assert out.is_batch
    assert [item.meta["filename_or_obj"] for item in decollate_batch(out)] == ["0.nii", "1.nii"]
    torch.testing.assert_close(batch.affine, torch.stack([affine, OTHER_AFFINE]), rtol=0, atol=0)
    torch.testing.assert_close(batch.as_tensor(), before, rtol=0, atol=0)


def test_one_affine_for_all_stays_one(affine):
    images = MetaTensor(torch.zeros(2, 1, 3, 4, 5), affine=affine, applied_operations=[{"class": "Earlier"}])
    out = SuperResolutionInferer(slice_axis=0)(images, Bicubic(), scale=2.0)
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(out.affine @ corner, affine @ corner)
    torch.testing.assert_close(out.affine[:, :3], affine[:, :3] / torch.tensor([1.0, 2.0, 2.0]))
    assert out.applied_operations == [{"class": "Earlier"}]
    assert not out.is_batch


def test_2d_images_with_a_planar_affine_keep_their_corner():
    affine = torch.tensor([[0.6, -0.8, 12.0], [0.8, 0.6, -7.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    out = SuperResolutionInferer()(MetaTensor(torch.zeros(2, 1, 3, 4), affine=affine), Bicubic(), scale=(2.0, 2.5))
    corner = torch.tensor([-0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(out.affine @ corner, affine @ corner)
    torch.testing.assert_close(out.affine[:2, :2], affine[:2, :2] / torch.tensor([2.0, 2.5]))


@pytest.mark.parametrize("scale", [2.0, 2.37, (1.0, 2.0, 3.5)])
def test_a_network_on_volumes_sees_whole_volumes(scale):
    volumes, network = random_image(3, 2, 5, 4, 6), Bicubic(3)
    out = SuperResolutionInferer(2)(volumes, network, scale=scale)
    torch.testing.assert_close(out, network(volumes, scale), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(
    size=st.tuples(*[st.integers(1, 15)] * 3),
    scales=st.tuples(*[st.sampled_from([1.0, 1.5, 2.0, 2.37])] * 3),
    tile_size=st.integers(1, 40),
)
def test_tiles_of_a_volume_give_the_whole(size, scales, tile_size):
    torch.manual_seed(0)
    network, volume, shapes = Encoder(), random_image(1, 1, *size), []
    network.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[2:]))
    with torch.no_grad():
        tiled = SuperResolutionInferer(tile_size=tile_size)(volume, network, scale=scales)
        # As many voxels as a tile of a slice has pixels, and what is around them.
        assert max(n for shape in shapes for n in shape) <= max(1, round(tile_size ** (2 / 3))) + 2 * network.halo
        torch.testing.assert_close(tiled, network(volume, scales), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.5, (3.7, 1.0, 2.0)])
def test_each_volume_of_a_batch_that_is_upscaled_whole_has_the_values_that_its_affine_promises(
    world_ramp, affine, scale
):
    batch = batch_of([affine, OTHER_AFFINE], (8, 9, 10), world_ramp)
    for item in decollate_batch(SuperResolutionInferer()(batch, Linear(3), scale=scale)):
        inner = (item.as_tensor()[0] - world_ramp(item.shape[1:], item.affine))[4:-4, 2:-2, 3:-3]
        assert inner.numel() > 10
        torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("scale", "axes"), [((1.0, 2.0), 2), ((1.0, 2.0, 2.0, 2.0), 4)])
def test_a_scale_of_other_axes_is_refused(scale, axes):
    with pytest.raises(ValueError, match=f"has {axes} axes, but 3 are needed"):
        SuperResolutionInferer()(torch.zeros(1, 1, 3, 3, 3), Bicubic(3), scale=scale)


def test_a_network_sees_as_many_channels_at_once_as_it_has():
    network, image = Recorder(), random_image(2, 6, 5, 4)
    fine = SuperResolutionInferer(slice_batch_size=9)(image, network, scale=2.0)
    network.in_channels = 3
    torch.testing.assert_close(SuperResolutionInferer(slice_batch_size=9)(image, network, scale=2.0), fine)
    assert torch.equal(network.chunks[1], torch.stack([i[c : c + 3] for i in image for c in (0, 3)]))
    network.in_channels = 4
    with pytest.raises(ValueError, match="the network needs images of 4 channels, but these have 6"):
        SuperResolutionInferer()(image, network, scale=2.0)


def test_slices_are_no_volumes():
    with pytest.raises(ValueError, match=r"inputs must have the shape \(N, C, h, w, d\), got \(1, 1, 3, 4\)"):
        SuperResolutionInferer()(torch.zeros(1, 1, 3, 4), Bicubic(3), scale=2.0)


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (1, 1, 3, 4, 5, 6)])
def test_inputs_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="inputs must have the shape"):
        SuperResolutionInferer()(torch.zeros(shape), Bicubic(), scale=2.0)


@pytest.mark.parametrize("slice_batch_size", [0, -1])
def test_a_batch_of_no_slices_is_refused(slice_batch_size):
    with pytest.raises(ValueError, match="slice_batch_size must be at least 1"):
        SuperResolutionInferer(slice_batch_size)


@pytest.mark.parametrize("slice_axis", [-4, 3])
def test_a_slice_axis_that_is_not_there_is_refused(slice_axis):
    with pytest.raises(ValueError, match=r"slice_axis must be in \[-3, 2\]"):
        SuperResolutionInferer(slice_axis=slice_axis)(torch.zeros(1, 1, 3, 3, 3), Bicubic(), scale=2.0)


def test_amp_runs_the_network_in_bfloat16_and_gives_back_the_type_of_the_input():
    def network(x, scale):
        assert torch.nn.functional.conv2d(x, torch.ones(1, 1, 1, 1)).dtype == torch.bfloat16
        return x.bfloat16()

    images = torch.rand(2, 1, 3, 3)
    out = SuperResolutionInferer(amp=True)(images, network, scale=1.0)
    torch.testing.assert_close(out, images.bfloat16().float(), rtol=0, atol=0)


def test_the_network_learns_through_the_inferer():
    images = random_image(1, 1, 3, 3, 2).requires_grad_()
    SuperResolutionInferer(1)(images, Bicubic(), scale=2.0).square().sum().backward()
    through, direct = images.grad, images.detach().clone().requires_grad_()
    sum(Bicubic()(direct[..., i], 2.0).square().sum() for i in range(2)).backward()
    torch.testing.assert_close(through, direct.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("slice_batch_size", [1, 4])
def test_single_samples_come_as_the_network_makes_them(slice_batch_size):
    volumes, samples = random_image(3, 1, 4, 5, 3), torch.tensor([[0, 7], [2, 2], [100, 5]])

    def network(x, scale, samples):
        return Bicubic(3)(x, scale).flatten(2).gather(2, samples.unsqueeze(1))

    network.spatial_dims = 3
    made = SuperResolutionInferer(slice_batch_size)(volumes, network, scale=2.0, samples=samples)
    whole = Bicubic(3)(volumes, 2.0).flatten(2)
    expected = torch.stack([whole[n, :, samples[n]] for n in range(3)])
    torch.testing.assert_close(made, expected, rtol=0, atol=0)
