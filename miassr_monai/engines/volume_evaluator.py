"""Evaluation of volumes that stand each for itself."""

from __future__ import annotations

from typing import Any

from monai.engines import EnsembleEvaluator

__all__ = ["VolumeEvaluator"]


class VolumeEvaluator(EnsembleEvaluator):
    """MONAI's evaluator of several networks, which goes on where one volume fails.

    The output of an iteration that raised is ``{"error": the exception}``; so is that of a batch that has an ``error``,
    as :class:`miassr_monai.data.ScaleGridDataset` makes of a volume that cannot be loaded.
    """

    def _iteration(self, engine: EnsembleEvaluator, batchdata: dict[str, Any]) -> dict[str, Any]:
        try:
            if "error" in batchdata:
                raise batchdata["error"]
            return super()._iteration(engine, batchdata)
        except Exception as error:
            engine.state.output = {"error": error}
            return engine.state.output
