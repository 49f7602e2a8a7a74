from itertools import combinations

import nibabel as nib
import numpy as np
import pytest

from miassr_monai.data import load_datalist, write_sample

SECTIONS = ("training", "validation", "test")


@pytest.fixture(scope="module")
def template():
    return pytest.importorskip("nilearn.datasets").load_mni152_template(resolution=1)


@pytest.fixture(scope="module")
def sample(template, tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample") / "new" / "folder")


def blocks(sample, section):
    return [nib.load(item["image"]) for item in load_datalist(sample, section)]


def axial_slices(block, template):
    """Slices of the template that a block holds, by their world coordinates."""
    first = np.linalg.solve(template.affine, block.affine @ [0, 0, 0, 1])
    np.testing.assert_allclose(first, [0, 0, round(first[2]), 1], atol=1e-9)
    return range(round(first[2]), round(first[2]) + block.shape[2])


@pytest.mark.parametrize("section", SECTIONS)
def test_the_blocks_are_slices_of_the_template_in_their_place(sample, template, section):
    for block in blocks(sample, section):
        slices = axial_slices(block, template)
        np.testing.assert_allclose(block.affine[:3, :3], template.affine[:3, :3])
        np.testing.assert_array_equal(block.get_fdata(), template.get_fdata()[:, :, slices.start : slices.stop])


@pytest.mark.parametrize("section", SECTIONS)
def test_every_slice_shows_brain(sample, section):
    for block in blocks(sample, section):
        values = block.get_fdata().reshape(-1, block.shape[2])
        assert (np.count_nonzero(values > 0.2 * values.max(), axis=0) > 500).all()


def test_slices_of_different_sections_are_at_least_6_apart(sample, template):
    slices = {s: [n for block in blocks(sample, s) for n in axial_slices(block, template)] for s in SECTIONS}
    for one, other in combinations(SECTIONS, 2):
        assert min(abs(a - b) for a in slices[one] for b in slices[other]) > 6
    for section in SECTIONS:
        assert len(slices[section]) == len(set(slices[section])) >= 8


def test_a_second_call_keeps_what_is_there(sample):
    files = sorted(sample.iterdir())
    assert len(files) == 1 + sum(len(load_datalist(sample, section)) for section in SECTIONS)
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    assert write_sample(str(sample)) == sample
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(sample.iterdir())] == before
