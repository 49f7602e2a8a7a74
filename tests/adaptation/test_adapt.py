import copy

import pytest
import torch
from make import small_generator

from miassr_monai.adaptation import Adaptation, CorrectedInferer, adapt, split_slices
from miassr_monai.degradations import parse_degradation
from miassr_monai.inferers import SuperResolutionInferer

BOX = parse_degradation("slice_profile:profile=box")
FEW = Adaptation(steps=30, learning_rate=3e-3, batch_size=4, patch_size=24)


def stripes(count=9, size=32):
    """Slices of oblique stripes that are finer than three pixels."""
    row, column = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    phase = torch.arange(float(count)).view(-1, 1, 1, 1)
    return 0.5 + 0.5 * torch.sin(0.9 * row + 0.8 * column + phase)


def network():
    torch.manual_seed(0)
    return small_generator(width=8, depth=1, skip="bicubic", anisotropic=True).eval()


def test_what_is_learnt_from_slices_holds_on_others_of_them_and_the_network_stays_as_it_was():
    given = network()
    before = copy.deepcopy(given.state_dict())
    state = torch.random.get_rng_state()
    adapted, record = adapt(given, stripes(), BOX, spacing=2.0, settings=FEW)
    assert record["steps"] == 30 and record["held_out"] == 2 and record["used"]
    assert record["psnr_after"] > record["psnr_before"] + 1.0
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    # Of slices that neither training nor the choice of the weights has seen.
    truth = stripes(20)[15:]
    coarse = BOX(truth, (1.0, 2.0))
    with torch.no_grad():
        errors = [(net(coarse, (1.0, 2.0)) - truth).square().mean().item() for net in (given, adapted)]
    assert errors[1] < 0.8 * errors[0]
    again, _ = adapt(given, stripes(), BOX, spacing=2.0, settings=FEW)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), adapted.parameters(), strict=True))


def test_weights_that_do_not_help_are_not_used():
    given = network()
    harmful = Adaptation(steps=5, learning_rate=10.0, batch_size=2, patch_size=16)
    adapted, record = adapt(given, stripes(), BOX, spacing=2.0, settings=harmful)
    assert not record["used"] and record["psnr_after"] == record["psnr_before"]
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), adapted.parameters(), strict=True))


def test_held_out_slices_are_looked_at_as_results_will_be_corrected_or_not():
    given, slices = network(), stripes()
    few = Adaptation(steps=1, batch_size=1, patch_size=16)
    _, held_out = split_slices(slices)
    truth = torch.cat([held_out, held_out.transpose(-1, -2)])
    found = []
    for corrected, inferer in ((False, SuperResolutionInferer()), (True, CorrectedInferer(BOX))):
        _, record = adapt(given, slices, BOX, spacing=2.0, settings=few, corrected=corrected)
        with torch.no_grad():
            error = inferer(BOX(truth, (1.0, 2.0)), given, scale=(1.0, 2.0)) - truth
        found.append(-10 * error.square().mean((1, 2, 3)).log10().mean().item())
        assert record["psnr_before"] == pytest.approx(found[-1], abs=1e-3)
    assert found[1] > found[0] + 0.1


def test_the_time_ends_the_training_and_its_learning_rate():
    settings = Adaptation(minutes=1e-9, steps=1000, batch_size=2, patch_size=16)
    seen = []

    def progress(batches, total):
        seen.append(total)
        return batches

    _, record = adapt(network(), stripes(), BOX, spacing=2.0, settings=settings, progress=progress)
    assert record["steps"] == 1 and seen == [1000]


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"steps": -1}, {"patch_size": 0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of an adaptation must be above 0"):
        Adaptation(**wrong)
