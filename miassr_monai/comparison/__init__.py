"""Comparison: a list of networks trained alike, evaluated side by side, and summed up in a table and a figure."""

from miassr_monai.comparison.figure import draw_quality
from miassr_monai.comparison.plan import Plan, built_in_plans, check_plan, read_plan
from miassr_monai.comparison.table import comparison_rows, comparison_table, write_comparison
from miassr_monai.comparison.training import Training, train_all

__all__ = [
    "Plan",
    "Training",
    "built_in_plans",
    "check_plan",
    "comparison_rows",
    "comparison_table",
    "draw_quality",
    "read_plan",
    "train_all",
    "write_comparison",
]
