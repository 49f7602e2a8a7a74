import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from skimage import io
from volumes import refusal

from miassr_monai.data import VolumeError, load_volume, save_volume
from miassr_monai.data.picture import check_picture

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
DEEP = RNG.integers(0, 1 << 16, (5, 7), np.uint16)
FLOAT = RNG.normal(size=(5, 7)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("a.png", GREY), ("a.PNG", DEEP), ("a.tif", GREY), ("a.tiff", DEEP), ("a.tif", FLOAT)],
)
def test_rows_and_columns_are_read_and_written_with_their_bits(tmp_path, name, pixels):
    # By another library.
    io.imsave(tmp_path / name, pixels, check_contrast=False, plugin="tifffile" if "tif" in name else "imageio")
    picture = load_volume(tmp_path / name)
    assert picture.shape == (1, 5, 7) and picture.dtype == torch.float32
    np.testing.assert_array_equal(picture[0].numpy(), pixels)
    assert picture.meta["original_dtype"] == pixels.dtype.name and picture.meta["spacing_known"] is False
    save_volume(tmp_path / f"b{name[1:]}", MetaTensor(torch.from_numpy(pixels)[None], meta=picture.meta))
    back = io.imread(tmp_path / f"b{name[1:]}")
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_volume_of_one_slice_is_a_picture_as_well(tmp_path):
    io.imsave(tmp_path / "a.png", GREY, check_contrast=False)
    meta = load_volume(tmp_path / "a.png").meta
    save_volume(tmp_path / "b.png", MetaTensor(torch.from_numpy(GREY)[None, ..., None], meta=meta))
    np.testing.assert_array_equal(io.imread(tmp_path / "b.png"), GREY)


def test_a_picture_is_upright_in_the_world(tmp_path):
    io.imsave(tmp_path / "a.png", GREY, check_contrast=False)
    affine = load_volume(tmp_path / "a.png").affine.numpy()
    # From row to row downwards, which is to the back where axial slices are shown; from column to column to the right.
    np.testing.assert_array_equal(affine @ (1, 0, 0, 0), (0, -1, 0, 0))
    np.testing.assert_array_equal(affine @ (0, 1, 0, 0), (1, 0, 0, 0))
    assert np.linalg.det(affine) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_levels_stored_as_colours_are_grey(tmp_path, mode):
    Image.fromarray(GREY).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_volume(tmp_path / "a.png")[0].numpy(), GREY)


def test_what_is_no_grey_picture_is_refused(tmp_path):
    colours = np.stack([GREY, GREY, GREY], -1)
    colours[2, 3, 1] += 1
    io.imsave(tmp_path / "colour.png", colours, check_contrast=False)
    assert "is in colour: convert it" in refusal(tmp_path / "colour.png")
    io.imsave(tmp_path / "clear.png", np.stack([GREY, GREY], -1), check_contrast=False)
    assert "is transparent in places" in refusal(tmp_path / "clear.png")
    Image.fromarray(GREY).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(GREY)] * 2)
    assert "has 3 pages" in refusal(tmp_path / "pages.tif")
    whole = (tmp_path / "clear.png").read_bytes()
    for name, content in (("none.png", b"hello"), ("empty.tif", b""), ("cut.png", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(content)
        refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "dtype", "meta", "message"),
    [
        ((1, 4, 5), "uint8", {}, "would lose the size of the voxels"),
        ((2, 4, 5), "uint8", {"spacing_known": False}, r"cannot hold 2 channel\(s\) of 4 x 5 voxels"),
        ((1, 4, 5, 2), "uint8", {"spacing_known": False}, "a picture is one slice"),
        ((1, 4, 5), "float32", {"spacing_known": False}, "cannot hold float32 values: .* uint8 or uint16"),
        ((1, 4, 5), "int16", {"spacing_known": False}, "cannot hold int16 values"),
    ],
)
def test_what_a_picture_cannot_hold_is_refused_before_it_is_made(tmp_path, shape, dtype, meta, message):
    with pytest.raises(VolumeError, match=message):
        check_picture(tmp_path / "a.png", MetaTensor(torch.zeros(shape), meta=meta), dtype)
    check_picture(tmp_path / "a.tif", MetaTensor(torch.zeros(1, 4, 5), meta={"spacing_known": False}), "float32")
