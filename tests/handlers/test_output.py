import numpy as np
import pytest
import torch
from monai.data import decollate_batch
from monai.engines import SupervisedTrainer

from miassr_monai.handlers import scalar_output

OUTPUT = {
    "image": torch.ones(2, 1, 3, 3),
    "loss": torch.tensor(0.5),
    "l1": 0.25,
    "count": np.int64(3),
    "scores": torch.tensor([1.0]),
}


def test_scalars_are_read_as_floats_and_the_rest_is_left_out():
    scalars = scalar_output(OUTPUT)
    assert scalars == {"loss": 0.5, "l1": 0.25, "count": 3.0}
    assert all(type(value) is float for value in scalars.values())


def test_the_first_item_of_a_decollated_output_is_read():
    assert scalar_output([{"loss": 0.5, "pred": torch.ones(1, 2)}, {"loss": 7.0}]) == {"loss": 0.5}


@pytest.mark.parametrize("decollate", [True, False])
def test_the_loss_of_monai_s_trainer_is_read_whether_decollated_or_not(decollate):
    network = torch.nn.Linear(3, 3)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(2, 3), "label": torch.zeros(2, 3)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=torch.nn.MSELoss(),
        decollate=decollate,
    )
    trainer.run()
    assert isinstance(trainer.state.output, list) is decollate
    expected = (network.weight.sum(1) + network.bias).square().mean().item()
    assert scalar_output(trainer.state.output) == {"loss": pytest.approx(expected, rel=1e-6)}


def test_decollated_by_monai_the_scalars_are_the_same():
    output = {"pred": torch.ones(2, 1, 3), "loss": torch.tensor(0.5), "l1": torch.tensor(0.25)}
    assert scalar_output(decollate_batch(output)) == {"loss": 0.5, "l1": 0.25}
