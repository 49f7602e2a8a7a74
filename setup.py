"""What setup.cfg cannot say: the bundle lies beside the package, and goes inside it with an installation."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["miassr_monai*"]), "miassr_monai.built_in"],
    package_dir={"miassr_monai.built_in": "bundle"},
)
