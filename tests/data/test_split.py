from collections import Counter

import pytest

from miassr_monai.data import Subject, split_subjects


def subjects(number, prefix="s", **options):
    return [Subject(f"{prefix}{index:02d}", [{"image": "x.nii"}], **options) for index in range(number)]


def names(sections):
    return {section: [subject.name for subject in drawn] for section, drawn in sections.items()}


def test_every_section_has_its_number_of_subjects_and_nobody_is_in_two():
    sections = split_subjects(subjects(20), (9, 2, 4))
    assert {section: len(drawn) for section, drawn in sections.items()} == {"training": 9, "validation": 2, "test": 4}
    drawn = [name for section in names(sections).values() for name in section]
    assert len(set(drawn)) == 15
    assert all(section == sorted(section) for section in names(sections).values())


def test_the_draw_depends_on_seed_and_subjects_and_not_on_their_order():
    everyone = subjects(20)
    first = names(split_subjects(everyone, (9, 2, 4), seed=3))
    assert names(split_subjects(everyone[::-1], (9, 2, 4), seed=3)) == first
    assert names(split_subjects(everyone, (9, 2, 4), seed=4)) != first


def test_everybody_may_be_drawn():
    drawn = Counter()
    for seed in range(300):
        drawn.update(subject.name for subject in split_subjects(subjects(5), (1, 0, 0), seed=seed)["training"])
    # Five standard deviations of a binomial distribution around 60.
    assert len(drawn) == 5
    assert all(abs(count - 60) < 5 * (300 * 0.2 * 0.8) ** 0.5 for count in drawn.values())


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_spread_evenly_over_the_sections(seed):
    both = subjects(70, "h", group="HGG") + subjects(30, "l", group="LGG")
    sections = split_subjects(both, (50, 10, 20), seed=seed)
    shares = {section: sum(subject.group == "HGG" for subject in drawn) for section, drawn in sections.items()}
    assert shares == pytest.approx({"training": 35, "validation": 7, "test": 14}, abs=1)


def test_subjects_are_only_in_sections_that_they_may_be_in():
    everyone = subjects(6, "t", sections=("training",)) + subjects(4, "v", sections=("validation", "test"))
    sections = names(split_subjects(everyone + subjects(2, "x"), (6, 2, 2)))
    assert sections["training"] == [f"t{index:02d}" for index in range(6)]
    assert sorted(sections["validation"] + sections["test"]) == [f"v{index:02d}" for index in range(4)]
    with pytest.raises(
        ValueError, match=r"7 \+ 2 \+ 2 .* of the 10 that there are, 6 are left for training, for which .* mean 6:"
    ):
        split_subjects(everyone, (7, 2, 2))


def test_a_tenth_is_for_validation_and_another_for_test_unless_told():
    sections = split_subjects(subjects(35))
    assert [len(drawn) for drawn in sections.values()] == [29, 3, 3]
    assert [len(drawn) for drawn in split_subjects(subjects(3)).values()] == [1, 1, 1]
    with pytest.raises(ValueError, match=r"1 \+ 1 \+ 1 .* of the 2 that there are, 0 are left for test"):
        split_subjects(subjects(2))


@pytest.mark.parametrize("counts", [(0, 0, 0), (4, -1, 2), (3, 1)])
def test_numbers_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="give one number for each section"):
        split_subjects(subjects(9), counts)
