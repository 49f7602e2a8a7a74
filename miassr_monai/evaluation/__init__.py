"""Evaluation: methods compared on a data set, statistics over subjects, and a report."""

from miassr_monai.evaluation.distances import FeatureDistance, feature_distances
from miassr_monai.evaluation.evaluation import Evaluation, Scoring
from miassr_monai.evaluation.page import draw_page
from miassr_monai.evaluation.paper_protocol import PaperProtocol, PaperProtocolInferer
from miassr_monai.evaluation.report import make_report, report_table, write_report
from miassr_monai.evaluation.scale_log import ScaleLog, scale_metrics
from miassr_monai.evaluation.summary import compare_methods, subject_means, summarize

__all__ = [
    "Evaluation",
    "FeatureDistance",
    "PaperProtocol",
    "PaperProtocolInferer",
    "ScaleLog",
    "Scoring",
    "compare_methods",
    "draw_page",
    "feature_distances",
    "make_report",
    "report_table",
    "scale_metrics",
    "subject_means",
    "summarize",
    "write_report",
]
