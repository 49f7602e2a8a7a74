"""Trunks: features of an image at its own resolution."""

from miassr_monai.networks.trunks.edsr import EDSR
from miassr_monai.networks.trunks.mdsr import MDSR
from miassr_monai.networks.trunks.rdn import RDN
from miassr_monai.networks.trunks.rescnn import ResCNN
from miassr_monai.networks.trunks.rrdb import RRDB
from miassr_monai.networks.trunks.space_to_depth import SpaceToDepth
from miassr_monai.networks.trunks.span import SPAN
from miassr_monai.networks.trunks.srdensenet import SRDenseNet
from miassr_monai.networks.trunks.srresnet import SRResNet

__all__ = ["EDSR", "MDSR", "RDN", "RRDB", "SPAN", "ResCNN", "SRDenseNet", "SRResNet", "SpaceToDepth"]
