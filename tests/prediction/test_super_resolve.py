import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from make import small_generator
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Invertd,
    InvertibleTransform,
    LoadImaged,
    Orientationd,
    SaveImaged,
    SpatialPadd,
)

from miassr_monai import Predictor, SuperResolve, SuperResolved
from miassr_monai.adaptation import Adaptation
from miassr_monai.prediction.super_resolve import predictor_of

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
SIZE = (12, 10, 8)
# A block of voxels of the file.
LOW, HIGH = np.array([2, 3, 1]), np.array([6, 8, 5])


@pytest.fixture
def weights(tmp_path, make_network):
    torch.save(make_network().state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture
def file(tmp_path, affine):
    data = np.random.default_rng(0).random(SIZE, np.float32)
    image = nib.Nifti1Image(data, affine.numpy())
    image.set_sform(affine.numpy(), 1)
    nib.save(image, tmp_path / "image.nii.gz")
    return tmp_path / "image.nii.gz"


def test_channels_go_through_together_where_the_model_takes_several(tmp_path, make_network):
    torch.save(make_network(channels=3).state_dict(), tmp_path / "three.pt")
    image = MetaTensor(torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)))
    fine = SuperResolved("image", 2, model=tmp_path / "three.pt", device="cpu")({"image": image})["image"]
    truth = Predictor(tmp_path / "three.pt", device="cpu")(image, scale=2)
    torch.testing.assert_close(fine.as_tensor(), truth.as_tensor())
    mixed = SuperResolve(2, model=tmp_path / "three.pt", device="cpu")(image[[0, 0, 0]])
    assert (mixed[0] - fine[0]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="the model needs 3 channels, but the image has 1"):
        SuperResolve(2, model=tmp_path / "three.pt", device="cpu")(image[:1])


def pipeline(model="bicubic", scale=(2.0, 2.5)):
    return Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            SuperResolved("image", scale, model=model, device="cpu"),
        ]
    )


def block_on(image, affine):
    """Label 3 in the fine voxels whose centres lie in the block of the file, 0 elsewhere."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[1:]), [1.0], indexing="ij"), -1)[..., 0, :]
    voxel = (index @ (np.linalg.inv(affine.numpy()) @ image.affine.numpy()).T)[..., :3]
    inside = np.all((voxel >= LOW - 0.5) & (voxel < HIGH - 0.5), -1)
    # A network's output on a MetaTensor is one, too, which Invertd needs.
    return MetaTensor(3.0 * torch.from_numpy(inside)[None].float())


def assert_block(label, affine):
    truth = torch.zeros(1, *SIZE)
    truth[0, LOW[0] : HIGH[0], LOW[1] : HIGH[1], LOW[2] : HIGH[2]] = 3.0
    torch.testing.assert_close(label.as_tensor(), truth, rtol=0, atol=0)
    torch.testing.assert_close(label.affine, affine, rtol=0, atol=1e-4)


def test_it_does_what_the_predictor_does_and_traces_it(weights, affine):
    data = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    image = MetaTensor(data, affine=affine, meta={"note": 1})
    truth = Predictor(weights, device="cpu", slice_axis=1)(image, scale=2.5)
    fine = SuperResolve(2.5, model=weights, slice_axis=1, device="cpu")(image)
    torch.testing.assert_close(fine.as_tensor(), truth.as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(fine.affine, truth.affine, rtol=0, atol=0)
    assert fine.meta["note"] == 1 and image.applied_operations == []
    assert [step["class"] for step in fine.applied_operations] == ["SuperResolve"]


@pytest.mark.parametrize("scale", [(2.0, 2.5), 3.7, (2.0, 1.5, 2.37)])
def test_a_label_of_the_fine_grid_comes_back_to_the_voxels_of_the_file(file, affine, scale):
    transform = pipeline(scale=scale)
    data = transform({"image": str(file)})
    data["label"] = block_on(data["image"], affine)
    assert data["label"].shape == data["image"].shape
    back = Invertd("label", transform=transform, orig_keys="image", nearest_interp=True)(data)["label"]
    assert_block(back, affine)
    original = LoadImaged("image")({"image": str(file)})["image"].meta
    for key in ("spatial_shape", "dim", "pixdim", "original_affine"):
        np.testing.assert_allclose(back.meta[key], original[key], rtol=1e-6)


def test_without_nearest_an_image_is_interpolated_linearly(affine, world_ramp):
    transform = SuperResolve((2.0, 2.5), model="bicubic")
    fine = transform(MetaTensor(world_ramp(SIZE, affine)[None].float(), affine=affine))
    fine.copy_(world_ramp(fine.shape[1:], fine.affine)[None].float())
    coarse = transform.inverse(fine)
    assert coarse.dtype == torch.float32 and coarse.applied_operations == []
    truth = world_ramp(SIZE, affine)[None].float()
    torch.testing.assert_close(coarse.as_tensor(), truth, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [torch.from_numpy, MetaTensor])
def test_an_image_with_two_axes_comes_back(kind):
    transform = SuperResolve(2.5, model="bicubic")
    fine = transform(kind(np.random.default_rng(0).random((1, 8, 6)).astype(np.float32)))
    rows, columns = torch.meshgrid(*((torch.arange(n) + 0.5) / 2.5 - 0.5 for n in (20, 15)), indexing="ij")
    fine.copy_((rows + 10 * columns)[None])
    coarse = transform.inverse(fine)
    truth = torch.arange(8.0)[:, None] + 10 * torch.arange(6.0)
    torch.testing.assert_close(coarse.as_tensor()[0], truth, rtol=0, atol=1e-4)


def test_workers_load_the_model_themselves(file, weights, affine):
    transform = pipeline(weights, 2.5)
    assert len(pickle.dumps(transform.transforms[-1])) < 2000
    before = predictor_of.cache_info().misses
    loader = DataLoader(Dataset([{"image": str(file)}] * 4, transform), batch_size=2, num_workers=2)
    batches = list(loader)
    assert predictor_of.cache_info().misses == before
    alone = transform({"image": str(file)})["image"]
    invert = Invertd("label", transform=transform, orig_keys="image", nearest_interp=True)
    for batch in batches:
        for item in decollate_batch(batch):
            item["label"] = block_on(item["image"], affine)
            torch.testing.assert_close(item["image"].as_tensor(), alone.as_tensor(), rtol=0, atol=0)
            torch.testing.assert_close(item["image"].affine, alone.affine, rtol=0, atol=0)
            assert_block(invert(item)["label"], affine)


def test_the_header_of_a_loaded_image_agrees_with_its_new_grid(file):
    image = pipeline()({"image": str(file)})["image"]
    shape = list(image.shape[1:])
    assert image.meta["spatial_shape"].tolist() == shape == [24, 25, 8]
    assert image.meta["dim"].tolist() == [3, *shape, 1, 1, 1, 1]
    np.testing.assert_allclose(image.meta["pixdim"][1:4], image.pixdim.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(image.meta["original_affine"], image.affine.numpy())


@pytest.mark.parametrize("resample", [False, True])
def test_monais_writer_saves_the_fine_grid(tmp_path, file, resample):
    data = pipeline()({"image": str(file)})
    writer = SaveImaged(
        "image", output_dir=tmp_path / "out", output_postfix="x", separate_folder=False, resample=resample
    )
    writer(data)
    saved = nib.load(tmp_path / "out/image_x.nii.gz")
    np.testing.assert_allclose(saved.get_fdata(), data["image"][0].numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(saved.affine, data["image"].affine.numpy(), rtol=0, atol=1e-4)


def test_lists_of_a_configuration_are_taken():
    config = {
        "_target_": "miassr_monai.SuperResolved",
        "keys": ["image"],
        "scale": [2.0, 3.0],
        "model": "bicubic",
        "window": [-160, 240],
        "percentiles": [1, 99],
    }
    parser = ConfigParser({"transform": config})
    fine = parser.get_parsed_content("transform")({"image": torch.rand(1, 6, 5, 4)})["image"]
    assert fine.shape == (1, 12, 15, 4)
    config = {k: v for k, v in config.items() if k != "scale"} | {"spacing": [0.5, 0.25, 1.0]}
    fine = ConfigParser({"transform": config}).get_parsed_content("transform")({"image": torch.rand(1, 6, 5, 4)})
    assert fine["image"].shape == (1, 12, 20, 4)


def test_it_is_a_stage_like_others(affine):
    image = MetaTensor(torch.rand(1, *SIZE), affine=affine)
    transform = Compose([SpatialPadd("image", (14, 14, 8)), SuperResolved("image", 2, model="bicubic")])
    assert isinstance(transform.transforms[1], InvertibleTransform)
    fine = transform({"image": image, "other": 1})
    assert fine["image"].shape == (1, 28, 28, 8) and fine["other"] == 1
    back = transform.inverse(fine)["image"]
    assert back.shape == image.shape
    torch.testing.assert_close(back.affine, affine, rtol=0, atol=1e-9)


def test_missing_keys():
    data = {"image": torch.rand(1, 6, 5)}
    with pytest.raises(KeyError, match="seg"):
        SuperResolved(["image", "seg"], 2, model="bicubic")(data)
    transform = SuperResolved(["image", "seg"], 2, model="bicubic", allow_missing_keys=True)
    assert transform(data)["image"].shape == (1, 12, 10)


@pytest.mark.parametrize("wish", [{}, {"scale": 2, "spacing": 0.5}])
def test_a_scale_or_a_spacing_is_wanted_at_once(wish):
    with pytest.raises(ValueError, match="give a scale or a spacing, one of the two"):
        SuperResolve(**wish)


def test_without_metadata_it_gives_a_tensor(track_meta_off):
    image = torch.rand(1, 6, 5)
    fine = SuperResolve(2, model="bicubic")(image)
    assert type(fine) is torch.Tensor and fine.shape == (1, 12, 10)


@pytest.mark.parametrize("arguments", [{"scale": "two"}, {"scale": 0.5}, {"scale": (2, 9)}, {"spacing": -1}, {}])
def test_what_can_never_be_done_is_refused_when_the_transform_is_made(arguments):
    with pytest.raises(ValueError, match=r"scale|spacing"):
        SuperResolved("image", **arguments)


def test_arguments_that_there_are_not_are_refused_when_the_transform_is_made():
    with pytest.raises(TypeError, match=r"there is no argument 'windw': Predictor has .*amp, consistency"):
        SuperResolved("image", 2.0, windw=(0, 1))
    with pytest.raises(ValueError, match="bilinear"):
        SuperResolved(("image", "label"), 2.0, mode=("network", "bilinear"))
    with pytest.raises(ValueError, match="3"):
        SuperResolved(("image", "label"), 2.0, mode=("network", "nearest", "nearest"))


@pytest.mark.parametrize("mode", ["nearest", "one_hot"])
@pytest.mark.parametrize("grid", [{"scale": (2.0, 2.5)}, {"spacing": 0.4}])
def test_an_image_and_its_label_go_through_one_stage(affine, mode, grid):
    image = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    label = MetaTensor((image * 4).to(torch.uint8), affine=affine)
    data = {"image": MetaTensor(image, affine=affine), "label": label}
    transform = SuperResolved(("image", "label"), **grid, model="bicubic", mode=("network", mode), slice_axis=1)
    fine = transform(data)
    assert fine["label"].shape == fine["image"].shape and fine["label"].dtype == torch.uint8
    torch.testing.assert_close(fine["label"].affine, fine["image"].affine, rtol=0, atol=0)
    alone = SuperResolved("image", **grid, model="bicubic", slice_axis=1)(data)
    torch.testing.assert_close(fine["image"], alone["image"], rtol=0, atol=0)
    back = transform.inverse(fine)
    assert back["label"].shape == label.shape and back["label"].dtype == torch.uint8
    torch.testing.assert_close(back["label"].affine, label.affine)
    if mode == "nearest":
        assert torch.equal(back["label"].as_tensor(), label.as_tensor())


def test_a_stage_adapts_to_each_image_where_that_is_asked_for(tmp_path):
    torch.manual_seed(0)
    network = small_generator(width=4, depth=1, skip="bicubic", anisotropic=True)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    image = torch.rand(1, 16, 18, 4, generator=torch.Generator().manual_seed(0))
    options = {"model": tmp_path / "a.pt", "slice_axis": 2, "device": "cpu"}
    few = Adaptation(steps=2, learning_rate=1e-2, batch_size=1, patch_size=16)
    fine = SuperResolved("image", (1, 1, 2), adapt=few, **options)({"image": image})["image"].as_tensor()
    truth = Predictor(adapt=few, consistency=None, **options)(image, scale=(1, 1, 2)).as_tensor()
    torch.testing.assert_close(fine, truth)
    plain = SuperResolved("image", (1, 1, 2), **options)({"image": image})["image"].as_tensor()
    assert (fine - plain).abs().max() > 1e-4
