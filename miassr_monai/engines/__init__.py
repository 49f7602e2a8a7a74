"""Training engines. The warm-up and the evaluator are MONAI's own."""

from miassr_monai.engines.loss_guard import usable
from miassr_monai.engines.prepare_batch import DegradeBatch
from miassr_monai.engines.srgan_trainer import SRGANTrainer

__all__ = ["DegradeBatch", "SRGANTrainer", "usable"]
