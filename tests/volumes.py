"""Files of volumes, for tests."""

import resource
import struct
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miassr_monai.data import VolumeError, load_volume

SPACING = np.array([0.7, 1.1, 2.5])
ORIGIN = np.array([-81.25, 17.5, 33.0])
LANDMARK = (1, 3, 4)
# Directions of the axes in RAS, one a row: flipped; permuted and flipped; oblique.
FLIPPED = np.diag([-1.0, 1.0, -1.0])
PERMUTED = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
OBLIQUE = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8], [0.48, -0.64, 0.6]])
DIRECTIONS = pytest.mark.parametrize("axes", [FLIPPED, PERMUTED, OBLIQUE], ids=["flipped", "permuted", "oblique"])
# The affine of OBLIQUE.
AFFINE = np.array(
    [[0.56, -0.396, 1.2, -81.25], [0.42, 0.528, -1.6, 17.5], [0.0, 0.88, 1.5, 33.0], [0.0, 0.0, 0.0, 1.0]]
)


def voxels(shape=(3, 4, 5), dtype=np.int16):
    """Random values whose largest is at the landmark."""
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    if shape == (3, 4, 5):
        values[LANDMARK] = 120
    return values


def affine_of(axes):
    affine = np.eye(4)
    affine[:3, :3] = (axes * SPACING[:, None]).T
    affine[:3, 3] = ORIGIN
    return affine


def assert_landmark(volume, axes):
    """The largest value lies where the axes, spacing and origin put the landmark."""
    index = np.unravel_index(int(volume[0].argmax()), volume.shape[1:])
    truth = ORIGIN.copy()
    for steps, spacing, axis in zip(LANDMARK, SPACING, axes, strict=True):
        truth += steps * spacing * axis
    assert index == LANDMARK
    np.testing.assert_allclose(volume.affine.numpy() @ (*index, 1), (*truth, 1), rtol=0, atol=1e-4)


def write_nifti(path, data=None, affine=AFFINE, kind=nib.Nifti1Image, **header):
    """Write an image and then change fields of its header in the file."""
    nib.save(kind(voxels() if data is None else data, affine), path)
    if header:
        content = bytearray(path.read_bytes())
        fields = np.frombuffer(content, nib.nifti1.header_dtype, 1)
        for name, value in header.items():
            fields[name] = value
        path.write_bytes(content)
    return path


@contextmanager
def limited_memory(size=1 << 28):
    """Let the process take at most ``size`` bytes more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def write_nrrd(path, data=None, kind="short", **fields):
    data = voxels() if data is None else data
    header = {"type": kind, "dimension": data.ndim, "sizes": " ".join(map(str, data.shape)), "encoding": "raw"}
    header |= {"endian": "little", "space": "left-posterior-superior", "space origin": "(0,0,0)"}
    header |= {"space directions": "(1,0,0) (0,1,0) (0,0,1)"} | {k.replace("_", " "): v for k, v in fields.items()}
    text = "".join(f"{key}: {value}\n" for key, value in header.items() if value is not None)
    path.write_bytes(f"NRRD0004\n{text}\n".encode() + data.tobytes(order="F"))
    return path


def refusal(path):
    """The message of the error with which a volume is refused: one sentence that names it and ends with a remedy."""
    with pytest.raises(VolumeError) as caught:
        load_volume(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and message.endswith(".") and ": " in message and "\n" not in message
    return message


# DICOM

MR, CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
PLAIN, RUN_LENGTH = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
TYPE, SOP, UID, MODALITY, SERIES, NUMBER = (8, 8), (8, 0x16), (8, 0x18), (8, 0x60), (0x20, 0xE), (0x20, 0x11)
THICKNESS, POSITION, ORIENTATION = (0x18, 0x50), (0x20, 0x32), (0x20, 0x37)
SAMPLES, COLOURS, PLANAR, FRAMES = (0x28, 2), (0x28, 4), (0x28, 6), (0x28, 8)
PIXEL_SPACING, INTERCEPT, SLOPE, PIXELS = (0x28, 0x30), (0x28, 0x1052), (0x28, 0x1053), (0x7FE0, 0x10)
PRIVATE = ("Doe^Jane", "PAT-4711", "19700131", "20200131")

# Geometry in LPS, as DICOM has it: along a row, along a column, from slice to slice; all in mm.
ROW, COLUMN, NORMAL = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8], [0.48, -0.64, 0.6]])
BETWEEN_ROWS, BETWEEN_COLUMNS, GAP = 0.5, 0.7, 2.5
FIRST_PIXEL = np.array([10.0, -20.0, 30.0])


def element(tag, vr, value):
    """One data element, explicit little endian."""
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, int):
        value = struct.pack("<I" if vr == "UL" else "<H", value)
    elif isinstance(value, (list, np.ndarray)) and vr == "DS":
        value = "\\".join(f"{number:.8g}" for number in value).encode()
    value += (b"\0" if vr in ("UI", "OW") else b" ") * (len(value) % 2)
    # Pixels in bytes are the compressed ones, whose length is left open.
    size = 0xFFFFFFFF if (tag, vr) == (PIXELS, "OB") else len(value)
    length = struct.pack("<HI", 0, size) if vr in ("OB", "OW") else struct.pack("<H", size)
    return struct.pack("<HH", *tag) + vr.encode() + length + value


def write_slice(
    path, pixels, position=FIRST_PIXEL, axes=(ROW, COLUMN), sop=MR, series="1.2.3.456789", syntax=PLAIN, changes=()
):
    """Write a DICOM file by the letter of the standard; ``changes`` adds elements, or takes them out if None."""
    name, number, birth, date = PRIVATE
    rows, columns = pixels.shape[:2]
    bits = pixels.itemsize * 8
    uid = f"{series}.1"
    elements = {
        SOP: ("UI", sop),
        UID: ("UI", uid),
        (8, 0x20): ("DA", date),
        MODALITY: ("CS", "CT" if sop == CT else "MR"),
        (0x10, 0x10): ("PN", name),
        (0x10, 0x20): ("LO", number),
        (0x10, 0x30): ("DA", birth),
        THICKNESS: ("DS", "9.0"),
        (0x20, 0xD): ("UI", "1.2.3"),
        SERIES: ("UI", series),
        NUMBER: ("IS", "3"),
        POSITION: ("DS", position),
        ORIENTATION: ("DS", [*axes[0], *axes[1]]),
        SAMPLES: ("US", 1),
        COLOURS: ("CS", "MONOCHROME2"),
        (0x28, 0x10): ("US", rows),
        (0x28, 0x11): ("US", columns),
        PIXEL_SPACING: ("DS", [BETWEEN_ROWS, BETWEEN_COLUMNS]),
        (0x28, 0x100): ("US", bits),
        (0x28, 0x101): ("US", bits),
        (0x28, 0x102): ("US", bits - 1),
        (0x28, 0x103): ("US", int(pixels.dtype.kind == "i")),
        PIXELS: ("OW", pixels.tobytes()),
    }
    elements = {tag: pair for tag, pair in (elements | dict(changes)).items() if pair is not None}
    group = element((2, 1), "OB", b"\0\1") + element((2, 2), "UI", sop) + element((2, 3), "UI", uid)
    group += element((2, 0x10), "UI", syntax) + element((2, 0x12), "UI", "1.2.3")
    body = b"".join(element(tag, *elements[tag]) for tag in sorted(elements))
    path.write_bytes(bytes(128) + b"DICM" + element((2, 0), "UL", len(group)) + group + body)


def write_series(folder, slices=4, shape=(3, 5), step=GAP * NORMAL, leave_out=(), **kwargs):
    """Write slices whose names are not in the order of their positions; their pixels, slices first."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 1000, (slices, *shape)).astype("<i2")
    for k in range(slices):
        if k not in leave_out:
            write_slice(folder / f"IM{(3 * k + 1) % slices}", pixels[k], FIRST_PIXEL + k * step, **kwargs)
    return pixels
