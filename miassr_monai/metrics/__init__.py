"""Measures of super-resolved images."""

from miassr_monai.metrics.consistency import back_project, consistency_rmse, degrade_again

__all__ = ["back_project", "consistency_rmse", "degrade_again"]
