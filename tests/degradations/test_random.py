import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from miassr_monai.degradations import DEGRADATIONS, HELD_OUT, RandomDegradation, parse_degradation
from miassr_monai.degradations.random import EXTRAS, MEMBERS, members_of


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def plain(members, **options):
    return RandomDegradation(members, **{"extras": {}, "intensity_prob": 0.0, "soft_prob": 0.0, **options})


def test_members_are_drawn_as_often_as_their_weights_say():
    family = plain({"paper": 3, "kspace": 2, "psf:fwhm=0.5": 1})
    counts = Counter(family.draw().name for _ in range(3000))
    shares = {name: count / 3000 for name, count in counts.items()}
    assert shares == pytest.approx({"paper": 1 / 2, "kspace": 1 / 3, "psf:fwhm=0.5": 1 / 6}, abs=0.03)


def test_ranges_are_drawn_uniformly_and_each_axis_by_itself():
    family = plain({"psf:fwhm=0.4..1.8x1..2": 1})
    drawn = torch.tensor([family.draw().parameters["fwhm"] for _ in range(2000)])
    low, high = torch.tensor([0.4, 1.0]), torch.tensor([1.8, 2.0])
    assert (drawn >= low).all() and (drawn <= high).all()
    torch.testing.assert_close(drawn.mean(0), (low + high) / 2, rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.std(0), (high - low) / 12**0.5, rtol=0, atol=0.02)
    assert torch.corrcoef(drawn.T)[0, 1].abs() < 0.06


def test_extras_come_as_often_as_their_chance_says():
    family = plain({"paper": 1, "psf:fwhm=1": 1}, extras={"sharpen=0.2..1": 0.2, "noise=0.01..0.05": 0.6})
    drawn = [family.draw() for _ in range(2000)]
    assert sum(d.sharpen > 0 for d in drawn) / 2000 == pytest.approx(0.2, abs=0.03)
    assert sum(d.noise > 0 for d in drawn) / 2000 == pytest.approx(0.6, abs=0.03)
    assert sum(d.noise > 0 and d.sharpen > 0 for d in drawn) / 2000 == pytest.approx(0.12, abs=0.03)
    levels = [d.noise for d in drawn if d.noise]
    assert 0.01 <= min(levels) < 0.012 < 0.048 < max(levels) <= 0.05


def test_what_is_recorded_is_what_was_done():
    image = torch.rand(12, 1, 24, 30)
    small, altered, drawn = RandomDegradation(extras={"sharpen=0.2..1": 0.5}, intensity_prob=0.5, soft_prob=0)(
        image, (2.0, 1.5)
    )
    assert small.shape == (12, 1, 12, 20) and altered.shape == image.shape
    kept = 0
    for i, name in enumerate(drawn["degradation"]):
        gain, gamma = float(drawn["gain"][i]), float(drawn["gamma"][i])
        torch.testing.assert_close(altered[i], gain * image[i] ** gamma, rtol=0, atol=1e-6)
        torch.testing.assert_close(small[i], parse_degradation(name)(altered[i], (2.0, 1.5)), rtol=0, atol=0)
        kept += gain == gamma == 1 and torch.equal(altered[i], image[i])
    assert not drawn["softness"].any()
    assert 0 < kept < 12 and len(set(drawn["degradation"])) > 6


def test_every_member_degrades_volumes_along_all_axes():
    volume = torch.rand(1, 1, 9, 8, 10)
    for member in members_of(3):
        small, _, drawn = plain({member: 1}, spatial_dims=3)(volume, (2.0, 1.5, 2.5))
        expected = parse_degradation(drawn["degradation"][0])(volume, (2.0, 1.5, 2.5))
        torch.testing.assert_close(small, expected, rtol=0, atol=0)
        assert small.shape == (1, 1, 4, 5, 4)
    drawn = [RandomDegradation(spatial_dims=3).draw() for _ in range(60)]
    assert {len(d.parameters["fwhm"]) for d in drawn if isinstance(d.parameters.get("fwhm"), tuple)} == {3}


@pytest.mark.parametrize("size", [(33, 35), (21, 19, 23)])
def test_soft_images_are_blurred_by_gaussians_of_the_widths_that_are_recorded(size):
    image = torch.zeros(3, 1, *size)
    image[(..., *[n // 2 for n in size])] = 1
    family = plain({"area": 1}, soft_prob=1.0, softness=(2.0, 3.0), texture=(0.0, 0.0), spatial_dims=len(size))
    small, altered, drawn = family(image, (2.0,) * len(size))
    assert drawn["softness"].shape == (3, len(size)) and drawn["softness"].unique().numel() == 3 * len(size)
    for spread, lr, widths in zip(altered[:, 0], small, drawn["softness"], strict=True):
        torch.testing.assert_close(spread.sum(), torch.tensor(1.0), rtol=0, atol=1e-3)
        for axis, width in enumerate(widths.tolist()):
            others = [a for a in range(len(size)) if a != axis]
            place = torch.arange(size[axis]) - size[axis] // 2
            variance = float((spread.sum(others) * place**2).sum())
            # A sample has a width of its own, whose variance is 1 / 12.
            assert variance == pytest.approx(width**2 / (8 * math.log(2)) + 1 / 12, rel=0.02)
        torch.testing.assert_close(lr, parse_degradation("area")(spread[None], (2.0,) * len(size)), rtol=0, atol=1e-7)


def test_soft_images_have_soft_noise_which_is_the_targets_too():
    image = torch.full((1, 1, 200, 200), 0.25)
    level, width = 0.1, 2.5
    _, altered, _ = plain({"area": 1}, soft_prob=1.0, softness=(width,) * 2, texture=(level,) * 2)(image, 2.0)
    inner = altered[0, 0, 9:-9, 9:-9]
    # White noise after a Gaussian of standard deviation s along both axes: divided by 2 sqrt(pi) s.
    sigma = math.hypot(width / math.sqrt(8 * math.log(2)), math.sqrt(1 / 12))
    assert float(inner.std()) == pytest.approx(level * 0.5 / (2 * math.sqrt(math.pi) * sigma), rel=0.1)
    neighbours = torch.corrcoef(torch.stack([inner[:, 1:].flatten(), inner[:, :-1].flatten()]))[0, 1]
    assert float(neighbours) == pytest.approx(math.exp(-1 / (4 * sigma**2)), abs=0.05)


def test_images_smaller_than_the_blur_are_made_soft():
    image = torch.full((1, 1, 3, 2), 0.5)
    _, altered, _ = plain({"sampling": 1}, soft_prob=1.0, softness=(3.5, 3.5), texture=(0.0, 0.0))(image, 1.0)
    torch.testing.assert_close(altered, image, rtol=0, atol=1e-3)


def test_images_are_made_soft_as_often_as_told():
    drawn = RandomDegradation(soft_prob=0.3)
    widths = torch.tensor([drawn.draw_softness(2) for _ in range(2000)])
    assert float((widths[:, 0] > 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert ((widths > 0).sum(1) != 1).all()


def test_noise_is_on_the_lr_images_alone():
    image = torch.rand(2, 1, 16, 16)
    small, altered, drawn = plain({"psf": 1}, extras={"noise=0.05": 1})(image, 2.0)
    assert torch.equal(altered, image) and drawn["degradation"] == ["psf:noise=0.05"] * 2
    assert 0.02 < float((small - parse_degradation("psf")(image, 2.0)).std()) < 0.08


def test_negative_intensities_keep_their_sign():
    image = torch.full((1, 1, 4, 4), -0.25)
    _, altered, _ = plain({"area": 1}, gain=(0.5, 0.5), gamma=(0.5, 0.5), intensity_prob=1.0)(image, 2.0)
    torch.testing.assert_close(altered, torch.full_like(image, -0.25))


def test_batches_follow_torchs_seed():
    image, family = torch.rand(4, 1, 16, 16), RandomDegradation()
    results = []
    for start in (3, 3, 4):
        torch.manual_seed(start)
        results.append(family(image, 2.0))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert results[0][2]["degradation"] == results[1][2]["degradation"] != results[2][2]["degradation"]


def test_what_is_held_out_is_not_drawn():
    family = RandomDegradation()
    drawn = [family.draw() for _ in range(1000)]
    for held in map(parse_degradation, HELD_OUT):
        alike = [d for d in drawn if d.kind == held.kind and held.parameters.items() <= d.parameters.items()]
        widest = max(d.parameters["fwhm"] for d in drawn if isinstance(d.parameters.get("fwhm"), float))
        assert not alike or held.noise > 1.5 * max(d.noise for d in drawn)
        assert held.parameters.get("fwhm", 2 * widest) > 1.2 * widest
    assert {d.kind for d in drawn} == {member.partition(":")[0] for member in MEMBERS}


def test_the_family_is_told_in_the_docs():
    text = (Path(__file__).parents[2] / "docs/degradations.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if "|" in line]
    for member, weight in MEMBERS.items():
        assert any(row.startswith(f"| `{member}`") and row.endswith(f" {weight:g} |") for row in rows)
    assert all(f"`{example}`" in text for example in (*EXTRAS, *HELD_OUT, *DEGRADATIONS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": {}}, "a family needs members with weights above 0"),
        ({"members": {"psf": 0}}, "a family needs members with weights above 0"),
        ({"extras": {"noise=0.1": 1.5}}, r"chances must lie in \[0, 1\]"),
        ({"intensity_prob": -1}, r"chances must lie in \[0, 1\]"),
        ({"soft_prob": 2}, r"chances must lie in \[0, 1\]"),
        ({"softness": (0.0, 2.0)}, "softness must be a range of widths above 0"),
        ({"softness": (2.0, 1.0)}, "softness must be a range of widths above 0"),
        ({"texture": (-0.1, 0.1)}, "texture one of levels from 0 on"),
        ({"members": {"psf:fwhm=1..9": 1}}, r"fwhm must be a number in \[0.05, 8\], got 9"),
        ({"members": {"psf:fwhm=0..1": 1}}, r"fwhm must be a number in \[0.05, 8\], got 0"),
        ({"extras": {"blur=1": 0.5}}, "psf has no parameter 'blur'"),
    ],
)
def test_a_family_that_cannot_be_is_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        RandomDegradation(**options)
