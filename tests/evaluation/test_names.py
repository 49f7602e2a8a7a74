import pytest

from miassr_monai.evaluation.names import channel_names, volume_names

# Beside it, all are named from the folder above.
BESIDE = {"image": "/data/x.nii"}
ITEMS = [{"image": "/data/p1/t1.nii"}, {"image": [None, "/data/p2/t1.nii", "/data/p2/t2.nii"]}]


def test_volumes_are_named_by_their_files_below_the_folder_that_these_have_in_common():
    assert volume_names(ITEMS) == ["p1/t1.nii", "p2/t1.nii + p2/t2.nii"]
    assert volume_names(ITEMS[1:]) == ["t1.nii + t2.nii"]


@pytest.mark.parametrize(
    ("item", "channels", "expected"),
    [
        ({**ITEMS[0], "contrast": "T1w"}, 1, [("p1/t1.nii", "T1w")]),
        (ITEMS[0], 1, [("p1/t1.nii", None)]),
        (ITEMS[0], 2, [("p1/t1.nii, channel 0", "channel 0"), ("p1/t1.nii, channel 1", "channel 1")]),
        ({**ITEMS[0], "contrast": ["a", "b"]}, 2, [("p1/t1.nii, channel 0", "a"), ("p1/t1.nii, channel 1", "b")]),
        (ITEMS[1], 3, [(None, "channel 0"), ("p2/t1.nii", "channel 1"), ("p2/t2.nii", "channel 2")]),
        (
            {**ITEMS[1], "contrast": ["FLAIR", "T1w", "T2w"]},
            3,
            [(None, "FLAIR"), ("p2/t1.nii", "T1w"), ("p2/t2.nii", "T2w")],
        ),
    ],
)
def test_channels_are_named_by_their_files_and_contrasts(item, channels, expected):
    volume = volume_names([BESIDE, item])[1]
    assert channel_names(volume, item, channels) == expected


def test_contrasts_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"x has 3 channel\(s\), but the datalist names 2 contrasts: correct it"):
        channel_names("x", {"image": "x", "contrast": ["a", "b"]}, 3)
