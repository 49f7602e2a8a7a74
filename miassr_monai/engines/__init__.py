"""Engines for the GAN and for evaluation. The warm-up and the validation are MONAI's own."""

from miassr_monai.engines.loss_guard import usable
from miassr_monai.engines.parallel import Parallel
from miassr_monai.engines.prepare_batch import DegradeBatch
from miassr_monai.engines.run_stages import run_stages
from miassr_monai.engines.srgan_trainer import SRGANTrainer
from miassr_monai.engines.volume_evaluator import VolumeEvaluator

__all__ = ["DegradeBatch", "Parallel", "SRGANTrainer", "VolumeEvaluator", "run_stages", "usable"]
