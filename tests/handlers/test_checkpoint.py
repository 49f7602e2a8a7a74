import copy
import math
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from make import small_generator
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from torch.utils.data import RandomSampler

from miassr_monai.degradations import paper_degradation
from miassr_monai.engines import DegradeBatch, SRGANTrainer
from miassr_monai.files import save_atomically
from miassr_monai.handlers import DiscardLoss, EpochSeed, ResumableCheckpoint, WeightsSaver
from miassr_monai.losses import JointLoss, WassersteinGPLoss
from miassr_monai.networks import Critic

ITERATIONS = 3
STAGES = pytest.mark.parametrize("gan", [False, True], ids=["warmup", "gan"])


def collate(batch):
    return {"image": torch.stack([item["image"] for item in batch]), "scale": 1 + torch.rand(()).item()}


def make_loader(num_workers):
    """Images in random order, augmented at random, of random scales."""
    generator = torch.Generator().manual_seed(0)
    images = [{"image": torch.rand(1, 28, 28, generator=generator)} for _ in range(5)]
    augment = Compose([RandFlipd("image", prob=0.5, spatial_axis=0), RandGaussianNoised("image", prob=0.8)])
    dataset = Dataset(images, augment)
    sampler = RandomSampler(dataset, replacement=True, num_samples=2 * ITERATIONS)
    return DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=num_workers, collate_fn=collate)


class Stage:
    """A stage of training wired as the bundle wires it, all objects new."""

    def __init__(self, path, max_epochs, *, gan=False, num_workers=0, init=0, **options):
        torch.manual_seed(init)
        generator, critic = small_generator(width=4, depth=1, hidden_channels=8), Critic(width=2, dense_channels=4)
        optimizer, critic_optimizer = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (generator, critic))
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
        ema, loader = EMAHandler(generator, momentum=0.1), make_loader(num_workers)
        self.objects = {"network": generator, "ema": ema.ema_model, "optimizer": optimizer, "scheduler": scheduler}
        if gan:
            self.objects |= {"critic": critic, "critic_optimizer": critic_optimizer}
        handlers = [
            LrScheduleHandler(scheduler, epoch_level=False, print_lr=False),
            ema,
            EpochSeed(7, loader),
            ResumableCheckpoint(path, self.objects, **options),
        ]
        common = {"device": "cpu", "max_epochs": max_epochs, "train_data_loader": loader}
        common["prepare_batch"] = DegradeBatch(paper_degradation)
        if gan:
            adversarial = WassersteinGPLoss()
            self.trainer = SRGANTrainer(
                g_network=generator,
                g_optimizer=optimizer,
                g_loss_function=JointLoss(adversarial, None, perceptual_weight=0),
                d_network=critic,
                d_optimizer=critic_optimizer,
                d_loss_function=adversarial,
                train_handlers=handlers,
                **common,
            )
        else:
            self.trainer = SupervisedTrainer(
                network=generator,
                optimizer=optimizer,
                loss_function=torch.nn.L1Loss(),
                train_handlers=[DiscardLoss(), *handlers],
                decollate=False,
                **common,
            )
        self.losses = {}
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.note)

    def note(self, engine):
        self.losses[engine.state.iteration] = engine.state.output["loss"].item()

    def state(self):
        return copy.deepcopy({name: item.state_dict() for name, item in self.objects.items()})

    def run(self, stop_at=None):
        """Train, or be killed in the middle of the iteration ``stop_at``."""

        def stop():
            raise KeyboardInterrupt

        if stop_at is None:
            self.trainer.run()
        else:
            self.trainer.add_event_handler(Events.ITERATION_STARTED(once=stop_at), stop)
            with pytest.raises(KeyboardInterrupt):
                self.trainer.run()
        return self


def assert_same(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@STAGES
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, gan, num_workers):
    straight = Stage(tmp_path / "straight.pt", 4, gan=gan, num_workers=num_workers).run()
    path = tmp_path / "killed.pt"
    Stage(path, 4, gan=gan, num_workers=num_workers).run(stop_at=2 * ITERATIONS + 2)
    resumed = Stage(path, 4, gan=gan, num_workers=num_workers, init=99, resume=True).run()
    assert resumed.losses == {iteration: straight.losses[iteration] for iteration in range(7, 13)}
    assert_same(resumed.state(), straight.state())


def test_a_finished_run_can_be_made_longer(tmp_path):
    path = tmp_path / "checkpoint.pt"
    Stage(path, 2).run()
    longer = Stage(path, 3, init=99, resume=True).run()
    assert sorted(longer.losses) == [7, 8, 9]
    assert_same(longer.state(), Stage(tmp_path / "straight.pt", 3).run().state())


@pytest.mark.parametrize("max_epochs", [2, 1])
def test_a_finished_stage_is_loaded_and_not_trained_again(tmp_path, max_epochs):
    path = tmp_path / "checkpoint.pt"
    finished = Stage(path, 2).run()
    resumed = Stage(path, max_epochs, init=99, resume=True).run()
    assert resumed.losses == {}
    assert resumed.trainer.state.epoch == 2
    assert_same(resumed.state(), finished.state())


@pytest.mark.parametrize("resume", [False, True])
def test_training_starts_afresh_unless_there_is_something_to_resume(tmp_path, resume):
    path = tmp_path / "checkpoint.pt"
    if not resume:
        Stage(path, 2, init=99).run()
    stage = Stage(path, 2, resume=resume).run()
    assert sorted(stage.losses) == list(range(1, 7))
    assert_same(stage.state(), Stage(tmp_path / "other.pt", 2).run().state())


def test_the_count_of_discarded_steps_is_resumed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    stage = Stage(path, 1)
    stage.trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "discarded", 5))
    stage.run()
    assert Stage(path, 2, resume=True).run().trainer.state.discarded == 5


def test_another_epoch_length_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    Stage(path, 1).run()
    monkeypatch.setattr(f"{__name__}.ITERATIONS", 4)
    with pytest.raises(ValueError, match="was saved with 3 iterations per epoch, but this run has 4"):
        Stage(path, 2, resume=True).run()


@pytest.mark.parametrize(("interval", "saved"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5])])
def test_epochs_at_the_interval_and_the_last_are_saved(tmp_path, monkeypatch, interval, saved):
    seen = []
    save = "miassr_monai.handlers.checkpoint.save_atomically"
    monkeypatch.setattr(save, lambda content, path: seen.append((content["trainer"]["iteration"], path)))
    engine = Engine(lambda engine, batch: None)
    ResumableCheckpoint(tmp_path / "checkpoint.pt", {}, interval=interval).attach(engine)
    engine.run([0, 1], max_epochs=5)
    assert seen == [(2 * epoch, tmp_path / "checkpoint.pt") for epoch in saved]


def validate(saver, scores):
    """Run an evaluator with each score, the weight set to the run's number; the weight that is saved after each."""
    saved, engine = [], Engine(lambda engine, score: engine.state.metrics.update(psnr=score))
    saver.attach(engine)
    for number, score in enumerate(scores):
        torch.nn.init.constant_(saver.network.weight, number)
        engine.run([score])
        saved.append(torch.load(saver.path)["weight"].item() if saver.path.is_file() else None)
    return saved


def test_weights_are_saved_only_when_better_than_ever_before(tmp_path):
    saver = WeightsSaver(tmp_path / "best.pt", torch.nn.Linear(1, 1, bias=False), "psnr")
    assert validate(saver, [math.nan, -2, 3, 1, 3, math.nan, 4, 3.5]) == [None, 1, 2, 2, 2, 2, 6, 6]


def test_a_resumed_run_has_to_beat_the_best_so_far(tmp_path):
    network = torch.nn.Linear(1, 1, bias=False)

    def make_saver(resume):
        saver, engine = WeightsSaver(tmp_path / "best.pt", network, "psnr"), Engine(lambda engine, batch: None)
        ResumableCheckpoint(tmp_path / "checkpoint.pt", {"best_weights": saver}, resume=resume).attach(engine)
        return saver, engine

    saver, engine = make_saver(resume=False)
    assert validate(saver, [1, 2, 3]) == [0, 1, 2]
    engine.run([0])
    resumed, engine = make_saver(resume=True)
    engine.run([0])
    assert validate(resumed, [2, 3.5]) == [2, 1]


def test_without_a_metric_the_weights_are_saved_after_each_epoch(tmp_path):
    saver = WeightsSaver(tmp_path / "new" / "last.pt", torch.nn.Linear(1, 1, bias=False))
    assert validate(saver, [3, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_of_no_use_do_not_replace_those_that_are(tmp_path, bad):
    saver = WeightsSaver(tmp_path / "last.pt", torch.nn.Linear(1, 1, bias=False))
    engine = Engine(lambda engine, weight: torch.nn.init.constant_(saver.network.weight, weight))
    saver.attach(engine)
    engine.run([2.0])
    assert saver.saved and not saver.unsaved
    engine.run([bad])
    assert torch.load(saver.path)["weight"].item() == 2.0 and saver.unsaved
    engine.state.bad_steps = 1
    engine.run([3.0])
    assert torch.load(saver.path)["weight"].item() == 2.0 and saver.unsaved
    engine.state.bad_steps = 0
    engine.run([4.0])
    assert torch.load(saver.path)["weight"].item() == 4.0 and not saver.unsaved


def test_a_stage_that_is_diverging_is_not_saved(tmp_path):
    path = tmp_path / "checkpoint.pt"
    stage = Stage(path, 3)
    stage.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: setattr(engine.state, "bad_steps", int(engine.state.epoch > 1))
    )
    stage.run()
    assert torch.load(path)["trainer"]["iteration"] == ITERATIONS


@pytest.mark.parametrize("size", [0, 1, 1000, -1])
def test_a_checkpoint_that_was_cut_short_is_named(tmp_path, size):
    path = tmp_path / "checkpoint.pt"
    Stage(path, 1).run()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=f"{path} is damaged or no checkpoint: delete it to start"):
        Stage(path, 2, resume=True).run()


def test_weights_are_no_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_atomically(torch.nn.Linear(1, 1).state_dict(), path)
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        Stage(path, 2, resume=True).run()


def test_a_checkpoint_of_another_network_or_stage_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    Stage(path, 1).run()
    message = (
        rf"{path} was saved by a run with another configuration \(.*\): resume with the one in {tmp_path}/config.json"
    )
    with pytest.raises(ValueError, match=message):
        Stage(path, 2, gan=True, resume=True).run()
    content = torch.load(path)
    content["network"]["trunk.head.weight"] = torch.zeros(3, 3)
    save_atomically(content, path)
    with pytest.raises(ValueError, match=message) as caught:
        Stage(path, 2, resume=True).run()
    assert "size mismatch for trunk.head.weight" in str(caught.value) and "\n" not in str(caught.value)


def test_weights_are_saved_on_the_cpu(tmp_path):
    network = torch.nn.Linear(1, 1, bias=False)
    elsewhere = SimpleNamespace(cpu=lambda: torch.ones(1, 1))
    network.state_dict = lambda: {"weight": elsewhere}
    WeightsSaver(tmp_path / "model.pt", network).save(Engine(lambda *_: None))
    assert torch.load(tmp_path / "model.pt") == {"weight": torch.ones(1, 1)}
