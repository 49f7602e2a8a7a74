"""Handlers for MONAI's engines: checkpoints, progress, scores, pictures, MLflow."""

from miassr_monai.handlers.checkpoint import ResumableCheckpoint, WeightsSaver
from miassr_monai.handlers.clip_gradient import ClipGradient
from miassr_monai.handlers.discard_loss import DiscardLoss
from miassr_monai.handlers.epoch_seed import EpochSeed
from miassr_monai.handlers.mlflow import StageMLFlowHandler, save_running_config
from miassr_monai.handlers.output import scalar_output
from miassr_monai.handlers.panel import ImagePanel, draw_panel
from miassr_monai.handlers.progress import StageProgress
from miassr_monai.handlers.scores import ScaleScores

__all__ = [
    "ClipGradient",
    "DiscardLoss",
    "EpochSeed",
    "ImagePanel",
    "ResumableCheckpoint",
    "ScaleScores",
    "StageMLFlowHandler",
    "StageProgress",
    "WeightsSaver",
    "draw_panel",
    "save_running_config",
    "scalar_output",
]
