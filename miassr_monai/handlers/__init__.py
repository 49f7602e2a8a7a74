"""Handlers for MONAI's engines: run folder, checkpoints, divergence, logs, progress, scores, pictures."""

from miassr_monai.handlers.checkpoint import ResumableCheckpoint, WeightsSaver
from miassr_monai.handlers.clip_gradient import ClipGradient
from miassr_monai.handlers.csv_log import CsvLog
from miassr_monai.handlers.discard_loss import DiscardLoss
from miassr_monai.handlers.divergence import StopOnDivergence
from miassr_monai.handlers.epoch_seed import EpochSeed
from miassr_monai.handlers.mlflow import MLflowLog
from miassr_monai.handlers.output import scalar_output
from miassr_monai.handlers.panel import ImagePanel, draw_panel
from miassr_monai.handlers.progress import StageProgress
from miassr_monai.handlers.run_folder import RunFolder
from miassr_monai.handlers.scores import ScaleScores
from miassr_monai.handlers.stage_log import StageLog
from miassr_monai.handlers.time_limit import StageTimeLimit

__all__ = [
    "ClipGradient",
    "CsvLog",
    "DiscardLoss",
    "EpochSeed",
    "ImagePanel",
    "MLflowLog",
    "ResumableCheckpoint",
    "RunFolder",
    "ScaleScores",
    "StageLog",
    "StageProgress",
    "StageTimeLimit",
    "StopOnDivergence",
    "WeightsSaver",
    "draw_panel",
    "scalar_output",
]
