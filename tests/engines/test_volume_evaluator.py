import pytest
import torch
from ignite.engine import Events

from miassr_monai.degradations import paper_degradation
from miassr_monai.engines import DegradeBatch, VolumeEvaluator
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import Bicubic, Linear


class Picky(Linear):
    """Network that cannot work on black images."""

    def forward(self, x, scale):
        if x.max() == 0:
            raise ZeroDivisionError("nothing there")
        return super().forward(x, scale)


def evaluate(batches):
    """Outputs of an evaluation, and how often its iterations were complete."""
    outputs = []
    evaluator = VolumeEvaluator(
        device="cpu",
        val_data_loader=batches,
        networks=[Bicubic(), Picky()],
        pred_keys=["a", "b"],
        prepare_batch=DegradeBatch(paper_degradation),
        inferer=SuperResolutionInferer(),
        decollate=False,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    evaluator.run()
    return outputs


def test_what_fails_is_an_error_and_the_others_go_on():
    broken, image = OSError("broken"), torch.rand(1, 1, 8, 8)
    batches = [{"image": image, "scale": 2.0}, {"error": broken, "scale": 2.0}, {"image": 0 * image, "scale": 2.0}]
    first, second, third, last = evaluate([*batches, {"image": image, "scale": 4.0}])
    assert second == {"error": broken}
    assert list(third) == ["error"] and isinstance(third["error"], ZeroDivisionError)
    for output, scale in ((first, 2.0), (last, 4.0)):
        small = paper_degradation(image, scale)
        torch.testing.assert_close(output["a"], Bicubic()(small, scale), rtol=0, atol=0)
        torch.testing.assert_close(output["b"], Linear()(small, scale), rtol=0, atol=0)


def test_who_interrupts_is_obeyed(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Picky, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate([{"image": torch.rand(1, 1, 8, 8), "scale": 2.0}])
