"""Arbitrary-scale super-resolution of medical images, as MONAI components."""

__version__ = "0.1.0"
