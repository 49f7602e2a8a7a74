import pytest
import torch
from scipy import stats

from miassr_monai.degradations import gaussian_noise, rician_noise, speckle_noise


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("signal", [0.0, 0.03, 0.1, 0.8])
def test_rician_noise_has_the_moments_and_the_distribution_of_a_magnitude(signal):
    level = 0.05
    values = rician_noise(torch.full((200_000,), signal), level, generator=generator()).double()
    expected = stats.rice(signal / level, scale=level)
    assert float(values.mean()) == pytest.approx(expected.mean(), abs=5e-4)
    assert float(values.std()) == pytest.approx(expected.std(), rel=0.01)
    assert stats.kstest(values[:20_000].numpy(), expected.cdf).pvalue > 0.01


def test_gaussian_noise_is_normal_whatever_the_signal():
    noise = gaussian_noise(torch.full((100_000,), 0.01), 0.05, generator=generator()).double() - 0.01
    assert stats.kstest(noise.numpy(), stats.norm(scale=0.05).cdf).pvalue > 0.01


def test_speckle_grows_as_the_square_root_of_the_signal():
    signal = torch.tensor([0.0, 0.04, 0.25, 1.0, -0.3], dtype=torch.float64).unsqueeze(1).expand(-1, 100_000)
    noise = speckle_noise(signal, 0.1, generator=generator()) - signal
    assert noise.std(1).tolist() == pytest.approx([0.0, 0.02, 0.05, 0.1, 0.0], rel=0.01)
    assert stats.kstest(noise[2].numpy(), stats.norm(scale=0.05).cdf).pvalue > 0.01


@pytest.mark.parametrize("add_noise", [gaussian_noise, rician_noise, speckle_noise])
def test_noise_follows_the_seed_and_differs_from_sample_to_sample(add_noise):
    image = torch.full((2, 1, 16, 16), 0.5)
    first, again = (add_noise(image, 0.02, generator=generator(5)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    torch.manual_seed(5)
    assert torch.equal(add_noise(image, 0.02), first)
    assert first.dtype == torch.float32 and torch.equal(add_noise(image, 0.0), image)
