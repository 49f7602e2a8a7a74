"""Small networks for tests."""

from miassr_monai.networks import EDSR, MetaSRGenerator


def small_generator(in_channels=1, *, width=4, depth=2, hidden_channels=8, **options):
    """A MIASSR generator with an EDSR trunk."""
    return MetaSRGenerator(EDSR(2, in_channels, width=width, depth=depth), hidden_channels=hidden_channels, **options)
