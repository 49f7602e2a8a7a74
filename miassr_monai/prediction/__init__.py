"""Super-resolution for users: of a file, an array or a volume, and as a stage of a MONAI pipeline."""

from miassr_monai.prediction.compose_in_front import ComposeInFront
from miassr_monai.prediction.model import TrainedModel, load_model, load_models
from miassr_monai.prediction.predictor import Predictor, SuperResolutionWarning
from miassr_monai.prediction.super_resolve import SuperResolve, SuperResolved

__all__ = [
    "ComposeInFront",
    "Predictor",
    "SuperResolutionWarning",
    "SuperResolve",
    "SuperResolved",
    "TrainedModel",
    "load_model",
    "load_models",
]
