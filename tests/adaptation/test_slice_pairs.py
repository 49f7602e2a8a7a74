import pytest
import torch

from miassr_monai.adaptation import SlicePairs, in_whole_pixels, split_slices
from miassr_monai.degradations import parse_degradation

CPU = torch.device("cpu")
BOX = parse_degradation("slice_profile:profile=box")


def random_slices(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_a_pair_is_the_mean_over_the_slice_and_the_slice():
    image = random_slices(2, 1, 5, 17)
    small, truth, args, kwargs = SlicePairs(BOX, spacing=4.0)({"image": image}, CPU)
    torch.testing.assert_close(small, image[..., :16].unflatten(-1, (4, 4)).mean(-1), rtol=0, atol=1e-6)
    assert torch.equal(truth, image[..., :16]) and args == () and kwargs == {"scale": (1.0, 4.0)}


def test_the_truth_is_sampled_where_the_result_is_coarser_than_the_pixels():
    # A ramp says where a sample lies: 6 pixels of 1 from slice to slice, made samples of 1.5.
    ramp = torch.arange(60.0).expand(1, 1, 4, 60)
    small, truth, _, kwargs = SlicePairs(BOX, spacing=6.0, fine=1.5)({"image": ramp}, CPU)
    assert kwargs == {"scale": (1.0, 4.0)} and small.shape[-1] == 10 and truth.shape[-1] == 40
    torch.testing.assert_close(small[0, 0, 0], 6 * torch.arange(10.0) + 2.5)
    places = (torch.arange(40) + 0.5) * 1.5 - 0.5
    # Cubic convolution with a = -0.75 is a twentieth of a pixel off a ramp between samples.
    torch.testing.assert_close(truth[0, 0, 0, 2:-2], places[2:-2], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "spacing, scale, wanted",
    [
        (5 / 0.87, 5.0, (5.0, 1)),  # voxels of 1.15 pixels
        (6.0, 8.0, (8.0, 1)),  # of 3/4
        (6.0, 10.0, (6.0, 1)),  # of 3/5: no truth
        (9.0, 4.0, (8.0, 2)),  # of 2.25
    ],
)
def test_voxels_are_taken_for_a_whole_number_of_pixels(spacing, scale, wanted):
    assert in_whole_pixels(spacing, scale) == pytest.approx(wanted)


def test_held_out_slices_are_spread_over_those_that_show_much_and_are_not_trained_on():
    slices = torch.zeros(30, 1, 20, 24)
    for index in range(4, 28):
        slices[index, :, 3:15, 5:21] = 1 + 0.01 * index
    slices[4, :, 3:15, 6:21] = 0
    training, held_out = split_slices(slices)
    assert training.shape == (21, 1, 12, 16) and held_out.shape == (3, 1, 12, 16)
    numbers = [(part.amax((1, 2, 3)) * 100 - 100).round().int().tolist() for part in (training, held_out)]
    assert numbers[1] == [8, 16, 24] and numbers[0] == [n for n in range(4, 28) if n not in numbers[1]]
    with pytest.raises(ValueError, match="there are not two slices that show something"):
        split_slices(slices[:5])
