"""Measures of super-resolved images."""

from miassr_monai.metrics.conjugate_gradients import conjugate_gradients
from miassr_monai.metrics.consistency import back_project, consistency_rmse, degrade_again
from miassr_monai.metrics.foreground import foreground_mask
from miassr_monai.metrics.frd import frd, radiomics_features
from miassr_monai.metrics.frechet import frechet_distance
from miassr_monai.metrics.haarpsi import haarpsi
from miassr_monai.metrics.high_frequency import high_frequency_ratio
from miassr_monai.metrics.overshoot import overshoot
from miassr_monai.metrics.projections import projections_error
from miassr_monai.metrics.slice_scores import SLICE_MEASURES, slice_consistency, slice_scores
from miassr_monai.metrics.statistics import MIN_SUBJECTS, bootstrap_interval, holm, paired_tests

__all__ = [
    "MIN_SUBJECTS",
    "SLICE_MEASURES",
    "back_project",
    "bootstrap_interval",
    "conjugate_gradients",
    "consistency_rmse",
    "degrade_again",
    "foreground_mask",
    "frd",
    "frechet_distance",
    "haarpsi",
    "high_frequency_ratio",
    "holm",
    "overshoot",
    "paired_tests",
    "projections_error",
    "radiomics_features",
    "slice_consistency",
    "slice_scores",
]
