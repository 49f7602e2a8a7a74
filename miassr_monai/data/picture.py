"""Grey pictures, PNG and TIFF, as ultrasound is often kept in; read and written by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from miassr_monai.data.checks import check_memory, damaged
from miassr_monai.files import whole_file
from miassr_monai.volume_files import VolumeError

__all__ = ["SPACING_KNOWN", "check_picture", "load_picture", "save_picture"]

# Entry of ``meta`` that is false for pictures: their resolution, if they have one, is that of a printer.
SPACING_KNOWN = "spacing_known"
# Rows run downwards and columns to the right, as a volume would be shown.
AFFINE = np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
PNG, TIFF = "PNG", "TIFF"
# Types of pixels that are written.
WRITTEN = {PNG: ("uint8", "uint16"), TIFF: ("uint8", "uint16", "float32")}


def load_picture(path: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Pixels ``(1, rows, columns)``, an affine with spacings of 1, and metadata of a picture.

    Grey levels that are stored as equal colours are grey, too.

    Raises:
        VolumeError: when it is none, is damaged, coloured or transparent, or has several pages.
    """
    # It loads slowly.
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=(PNG, TIFF)) as image:
            pages = getattr(image, "n_frames", 1)
            check_memory(path, image.width * image.height)
            pixels = np.asarray(grey(path, ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise VolumeError(f"{path} is not a PNG or TIFF file or is damaged: copy or convert it again.") from error
    except VolumeError:
        raise
    # On a file that is damaged, Pillow raises nearly anything.
    except Exception as error:
        raise damaged(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if pages > 1:
        raise VolumeError(f"{path} has {pages} pages: save each as a picture of its own, or all as NIfTI.")
    # Older versions of Pillow hold 16 bits in 32.
    if pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() < 1 << 16:
        pixels = pixels.astype(np.uint16)
    data = torch.from_numpy(pixels.astype(np.float32))[None]
    return data, AFFINE.copy(), {"original_dtype": pixels.dtype.newbyteorder("=").name, SPACING_KNOWN: False}


def grey(path: Path, image: Any) -> Any:
    """A picture in grey levels.

    Raises:
        VolumeError: when it shows colours, or something through it.
    """
    if image.mode in ("L", "F", "I") or image.mode.startswith("I;16"):
        return image
    bands = image.convert("RGBA").split()
    if bands[3].getextrema() != (255, 255):
        raise VolumeError(f"{path} is transparent in places: save it without transparency.")
    if not all(np.array_equal(bands[0], band) for band in bands[1:3]):
        raise VolumeError(f"{path} is in colour: convert it to grey levels, or crop what is coloured.")
    return bands[0]


def format_of(path: Path) -> str:
    """Format of a picture that is to be written."""
    return PNG if path.suffix.lower() == ".png" else TIFF


def check_picture(path: Path, volume: MetaTensor, dtype: str) -> None:
    """Check that a picture can hold an image with values of a type, before the work whose result goes there.

    Args:
        path: file to be written.
        volume: ``(C, h, w)`` or ``(C, h, w, d)``, of which no more than the size matters.
        dtype: of the values that are to be written.

    Raises:
        VolumeError: when it cannot.
    """
    if volume.meta.get(SPACING_KNOWN, True):
        raise VolumeError(f"{path} would lose the size of the voxels, which is known: write a .nii.gz.")
    if len(volume) != 1 or (volume.ndim == 4 and volume.shape[3] != 1):
        shown = " x ".join(map(str, volume.shape[1:]))
        raise VolumeError(
            f"{path} cannot hold {len(volume)} channel(s) of {shown} voxels: a picture is one slice, write a .nii.gz."
        )
    if dtype not in (allowed := WRITTEN[format_of(path)]):
        raise VolumeError(f"{path} cannot hold {dtype} values: give a dtype that it can, {' or '.join(allowed)}.")


def save_picture(path: Path, volume: MetaTensor) -> None:
    """Write one slice as PNG or TIFF with the bits that its values have, whole or not at all.

    Raises:
        OSError: when the file cannot be written.
        VolumeError: see :func:`check_picture`.
    """
    from PIL import Image

    check_picture(path, volume, str(volume.dtype).removeprefix("torch."))
    pixels = volume.as_tensor().detach().cpu().reshape(volume.shape[1:3]).numpy()
    if not np.isfinite(pixels).all():
        raise VolumeError(f"{path} is not written, because the image holds NaN or infinite values: find out why first.")
    with whole_file(path) as partial:
        Image.fromarray(pixels).save(partial, format=format_of(path))
