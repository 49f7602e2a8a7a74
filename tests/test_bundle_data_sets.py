"""From the folders of public data sets, as their owners release them, to what a training sees."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from miassr_monai.cli import main
from miassr_monai.data import load_datalist

CONFIGS = Path(__file__).parent.parent / "bundle/configs"
# A voxel more to the right, to the front and up is 1 mm.
RAS = np.eye(4)


def write(path, size, seed=0):
    """Write random whole numbers, from below air to above soft tissue in CT; returns them as float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-1100, 600, size).astype(np.int16)
    nib.save(nib.Nifti1Image(values, RAS), path)
    return values.astype(np.float32)


def oasis(folder, number):
    path = folder / f"disc1/OAS1_{number:04d}_MR1/PROCESSED/MPRAGE/T88_111"
    path = path / f"OAS1_{number:04d}_MR1_mpr_n4_anon_111_t88_masked_gfc.hdr"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(1, 1700, (176, 208, 2)).astype(np.int16)
    nib.save(nib.Spm2AnalyzeImage(values, np.diag([-1.0, 1.0, 1.0, 1.0])), path)
    # Analyze does not say which side is which; by convention its first axis runs to the left.
    return [values[::-1].astype(np.float32)]


def brats(folder, number):
    stem = folder / f"HGG/Brats17_{number}" / f"Brats17_{number}"
    return [
        write(stem.with_name(f"{stem.name}_{what}.nii.gz"), (240, 240, 2), seed)
        for seed, what in enumerate(("t1ce", "t1", "t2", "flair"))
    ]


def acdc(folder, number):
    case = folder / f"patient{number:03d}"
    values = write(case / f"{case.name}_frame01.nii.gz", (154, 216, 2))
    write(case / f"{case.name}_frame09.nii.gz", (154, 216, 2))
    (case / "Info.cfg").write_text("ED: 1\nES: 9\n")
    return [values]


def covid_ct(folder, number):
    return [write(folder / f"Train/volume-covid19-A-{number:04d}_ct.nii.gz", (512, 512, 2))]


def brain_tumour(folder, number):
    name = f"imagesTr/BRATS_{number:03d}.nii.gz"
    images = [f'{{"image": "./imagesTr/BRATS_{n:03d}.nii.gz"}}' for n in range(1, number + 1)]
    values = write(folder / name, (240, 240, 2, 4))
    modalities = '{"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}'
    (folder / "dataset.json").write_text(f'{{"modality": {modalities}, "training": [{", ".join(images)}]}}')
    return list(np.moveaxis(values, -1, 0))


def unit(values):
    low, high = np.percentile(values, (0, 99.95))
    return (values - low) / (high - low)


def hounsfield(values):
    return (values + 1000) / 1500


CASES = {
    "oasis": (oasis, unit, (16, 14), (144, 180)),
    "brats": (brats, unit, (35, 30), (170, 180)),
    "acdc": (acdc, unit, (13, 44), (128, 128)),
    "covid_ct": (covid_ct, hounsfield, (50, 90), (412, 332)),
    "decathlon_brain_tumour": (brain_tumour, unit, (35, 30), (170, 180)),
}


@pytest.mark.filterwarnings("ignore:.*does not say how the patient lies")
@pytest.mark.parametrize("name", CASES)
def test_a_training_and_an_evaluation_see_what_the_paper_s_did(name, tmp_path):
    make, scale, start, size = CASES[name]
    truth = make(tmp_path, 1)
    command = "decathlon" if name.startswith("decathlon") else name.replace("_", "-")
    assert main(["datalist", command, str(tmp_path), "--counts", "1", "0", "0"]) == 0
    (item, *_) = load_datalist(tmp_path, "training")
    inner = tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))
    for kind, key in (("train", "train#preprocessing"), ("evaluate", "preprocessing")):
        parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / f"{kind}.json", CONFIGS / f"{name}.json"]))
        if kind == "train":
            parser["train#random_transforms"] = []
        else:
            parser.update({"datalist": [item], "training_datalist": [], "methods": {"bicubic": "bicubic"}})
        image = parser.get_parsed_content(key)(dict(item))["image"]
        assert image.shape == (len(truth), *size, 2)
        for channel, values in zip(image, truth, strict=True):
            np.testing.assert_allclose(channel.numpy(), scale(values)[inner], atol=1e-6)
