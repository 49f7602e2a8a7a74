import copy
import logging

import pytest
import torch
from ignite.engine import Events
from make import small_generator
from monai.handlers import LrScheduleHandler, StatsHandler, from_engine
from monai.transforms import Compose, Lambdad

from miassr_monai.degradations import paper_degradation
from miassr_monai.engines import DegradeBatch, SRGANTrainer
from miassr_monai.losses import (
    JointLoss,
    RelativisticAverageGANLoss,
    RelativisticPairingGANLoss,
    VanillaGANLoss,
    WassersteinClippingLoss,
    WassersteinGPLoss,
)
from miassr_monai.networks import Critic

SCALES = (2.3, 1.5, 3.7)


def squared(prediction, target):
    return (prediction - target).square().mean()


def hr_batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [
        {"image": torch.rand(2, 1, 30, 30, dtype=torch.float64, generator=generator), "scale": SCALES[index % 3]}
        for index in range(count)
    ]


def make_networks():
    torch.manual_seed(0)
    generator = small_generator(width=4, depth=1, hidden_channels=8).double()
    return generator, Critic(width=2).double()


def make_trainer(
    batches, *, penalty_weight=10.0, penalty_interval=1, pixel_weight=1.0, adversarial=None, critic=None, **options
):
    generator, default_critic = make_networks()
    critic = default_critic if critic is None else critic
    adversarial = (
        WassersteinGPLoss(penalty_weight, penalty_interval=penalty_interval) if adversarial is None else adversarial
    )
    return SRGANTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=batches,
        g_network=generator,
        g_optimizer=torch.optim.Adam(generator.parameters(), lr=1e-3),
        g_loss_function=JointLoss(
            adversarial, squared, pixel_weight=pixel_weight, adversarial_weight=0.1, perceptual_weight=0.5
        ),
        d_network=critic,
        d_optimizer=torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9)),
        d_loss_function=adversarial,
        prepare_batch=DegradeBatch(paper_degradation),
        **options,
    )


def run(trainer, seed=5):
    torch.manual_seed(seed)
    trainer.run()


def record(trainer, look):
    """What ``look`` returns after each iteration."""
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(look(engine)))
    return seen


def states(trainer):
    """Copies of the generator's and the critic's parameters and optimiser states."""
    generator = trainer.g_network.state_dict(), trainer.g_optimizer.state_dict()["state"]
    critic = trainer.d_network.state_dict(), trainer.d_optimizer.state_dict()["state"]
    return copy.deepcopy((generator, critic))


def same(first, second):
    try:
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    except AssertionError:
        return False
    return True


def plain_loop(batches, penalty_interval=1, seed=5):
    """The networks, losses of each iteration, and the critic's last gradients, in plain PyTorch."""
    generator, critic = make_networks()
    g_parameters, d_parameters = list(generator.parameters()), list(critic.parameters())
    g_adam = torch.optim.Adam(g_parameters, lr=1e-3)
    d_adam = torch.optim.Adam(d_parameters, lr=2e-3, betas=(0.0, 0.9))
    torch.manual_seed(seed)
    history = []
    for iteration, batch in enumerate(batches, start=1):
        lr = paper_degradation(batch["image"], batch["scale"])
        fake = generator(lr, batch["scale"])
        real = batch["image"][:, :, : fake.size(2), : fake.size(3)]

        wasserstein = critic(fake.detach()).mean() - critic(real).mean()
        order = (critic(real) > critic(fake)).double().mean()
        d_losses = {"critic_loss": wasserstein, "critic_adversarial": wasserstein, "critic_order": order}
        if iteration % penalty_interval == 0:
            weight = torch.rand(len(real), 1, 1, 1, dtype=torch.float64)
            between = ((1 - weight) * real + weight * fake.detach()).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
            d_losses["critic_loss"] = wasserstein + 10 * penalty_interval * penalty
            d_losses["penalty"] = penalty
        d_gradients = torch.autograd.grad(d_losses["critic_loss"], d_parameters)
        for parameter, gradient in zip(d_parameters, d_gradients, strict=True):
            parameter.grad = gradient
        d_adam.step()

        l1, adversarial, perceptual = (fake - real).abs().mean(), -critic(fake).mean(), ((fake - real) ** 2).mean()
        loss = l1 + 0.1 * adversarial + 0.5 * perceptual
        for parameter, gradient in zip(g_parameters, torch.autograd.grad(loss, g_parameters), strict=True):
            parameter.grad = gradient
        g_adam.step()
        losses = {"loss": loss, "l1": l1, "adversarial": adversarial, "perceptual": perceptual}
        history.append({"image": lr, "label": real, "pred": fake.detach()})
        history[-1] |= {name: value.detach() for name, value in {**losses, **d_losses}.items()}
    return generator, critic, history, d_gradients


@pytest.mark.parametrize("penalty_interval", [1, 2])
def test_training_is_that_of_a_plain_loop(penalty_interval):
    batches = hr_batches()
    trainer = make_trainer(batches, penalty_interval=penalty_interval)
    outputs = record(trainer, lambda engine: engine.state.output)
    run(trainer)
    generator, critic, history, d_gradients = plain_loop(batches, penalty_interval)
    torch.testing.assert_close(outputs, history, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(trainer.g_network.state_dict(), generator.state_dict(), rtol=0, atol=1e-8)
    torch.testing.assert_close(trainer.d_network.state_dict(), critic.state_dict(), rtol=0, atol=1e-8)
    gradients = [parameter.grad for parameter in trainer.d_network.parameters()]
    torch.testing.assert_close(gradients, list(d_gradients), rtol=1e-6, atol=1e-9)
    assert trainer.state.discarded == 0


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("loss", [VanillaGANLoss, RelativisticAverageGANLoss, RelativisticPairingGANLoss])
def test_losses_of_other_kinds_train_both_networks_as_a_plain_loop_does(loss, batch_norm):
    batches = hr_batches(2)

    def make_critic():
        torch.manual_seed(3)
        return Critic(width=2, batch_norm=batch_norm).double()

    trainer = make_trainer(batches, adversarial=loss(), critic=make_critic())
    run(trainer)
    (generator, _), critic, adversarial = make_networks(), make_critic(), loss()
    g_adam = torch.optim.Adam(generator.parameters(), lr=1e-3)
    d_adam = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    for batch in batches:
        fake = generator(paper_degradation(batch["image"], batch["scale"]), batch["scale"])
        real = batch["image"][:, :, : fake.size(2), : fake.size(3)]
        d_adam.zero_grad()
        adversarial.critic_loss(critic, real, fake)["critic_loss"].backward()
        d_adam.step()
        g_adam.zero_grad()
        terms = (fake - real).abs().mean(), adversarial(critic, real, fake), ((fake - real) ** 2).mean()
        (terms[0] + 0.1 * terms[1] + 0.5 * terms[2]).backward()
        g_adam.step()
    torch.testing.assert_close(trainer.g_network.state_dict(), generator.state_dict(), rtol=0, atol=1e-8)
    torch.testing.assert_close(trainer.d_network.state_dict(), critic.state_dict(), rtol=0, atol=1e-8)


def test_parameters_are_clipped_after_a_step_of_the_critic_and_only_then():
    trainer = make_trainer(hr_batches(), adversarial=WassersteinClippingLoss(0.01))
    largest = record(trainer, lambda engine: max(p.abs().max().item() for p in engine.d_network.parameters()))
    run(trainer)
    assert largest == [0.01] * 3
    trainer = make_trainer(hr_batches(), adversarial=WassersteinClippingLoss(0.01), loss_limit=0)
    before = states(trainer)
    run(trainer)
    assert same(states(trainer), before)


def test_a_resumed_run_has_the_penalty_where_the_whole_run_has_it():
    trainer = make_trainer(hr_batches(), penalty_interval=2)
    trainer.load_state_dict({"iteration": 3, "epoch_length": 3, "max_epochs": 3, "discarded": 0})
    penalised = record(trainer, lambda engine: (engine.state.iteration, "penalty" in engine.state.output))
    run(trainer)
    assert penalised == [(4, True), (5, False), (6, True), (7, False), (8, True), (9, False)]


def test_the_output_keeps_no_graph():
    trainer = make_trainer(hr_batches(1))
    run(trainer)
    assert not any(value.requires_grad for value in trainer.state.output.values())


def test_both_networks_are_put_into_training_mode():
    trainer = make_trainer(hr_batches(1))
    trainer.g_network.eval()
    trainer.d_network.eval()
    run(trainer)
    assert trainer.g_network.training
    assert trainer.d_network.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_changes_nothing(bad):
    batches = hr_batches()
    batches[1]["image"][0, 0, 12, 12] = bad
    trainer = make_trainer(batches)
    seen = record(trainer, states)
    counts = record(trainer, lambda engine: engine.state.discarded)
    run(trainer)
    assert same(seen[0], seen[1])
    assert not same(seen[1], seen[2])
    assert counts == [0, 2, 2]


@pytest.mark.parametrize("weight", ["penalty_weight", "pixel_weight"])
def test_only_the_step_beyond_the_limit_is_discarded(weight, caplog):
    trainer = make_trainer(hr_batches(2), loss_limit=1e6, **{weight: 1e9})
    before = states(trainer)
    with caplog.at_level(logging.WARNING):
        run(trainer)
    (generator, critic), (generator_before, critic_before) = states(trainer), before
    assert same(generator, generator_before) is (weight == "pixel_weight")
    assert same(critic, critic_before) is (weight == "penalty_weight")
    assert trainer.state.discarded == 2
    assert "discarded a step at iteration 2" in caplog.text


def test_the_default_limit_is_1e8():
    trainer = make_trainer(hr_batches(1))
    assert trainer.loss_limit == 1e8


def test_the_count_of_discarded_steps_is_part_of_the_state():
    trainer = make_trainer(hr_batches(2), loss_limit=0)
    run(trainer)
    assert trainer.state_dict()["discarded"] == 4
    resumed = make_trainer(hr_batches(2))
    resumed.load_state_dict(trainer.state_dict())
    assert resumed.state.discarded == 4


def test_the_critic_can_be_trained_after_the_generator_s_step():
    trainer = make_trainer(hr_batches(1))
    run(trainer)
    assert all(parameter.requires_grad for parameter in trainer.d_network.parameters())


def test_layers_of_the_critic_that_are_frozen_stay_so():
    trainer = make_trainer(hr_batches())
    critic = trainer.d_network
    critic.features[:4].requires_grad_(False)
    before = copy.deepcopy(critic.state_dict())
    flags = {name: parameter.requires_grad for name, parameter in critic.named_parameters()}
    run(trainer)
    assert {name: parameter.requires_grad for name, parameter in critic.named_parameters()} == flags
    after = critic.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in flags if not flags[name])
    assert not torch.equal(after["features.4.weight"], before["features.4.weight"])


def test_output_is_decollated_and_postprocessed():
    whole = make_trainer(hr_batches(1))
    run(whole)
    trainer = make_trainer(
        hr_batches(1), decollate=True, postprocessing=Compose([Lambdad("pred", lambda image: image + 5)])
    )
    outputs = record(trainer, lambda engine: engine.state.output)
    run(trainer)
    ((first, second),) = outputs
    torch.testing.assert_close(torch.stack([first["pred"], second["pred"]]), whole.state.output["pred"] + 5)
    assert from_engine(["loss"], first=True)(outputs[0]) == pytest.approx(whole.state.output["loss"].item())


def test_monai_s_stats_handler_reports_the_generator_s_loss(capsys):
    stats = StatsHandler(name="srgan", tag_name="joint", output_transform=from_engine(["loss"], first=True))
    trainer = make_trainer(hr_batches(1), decollate=True, train_handlers=[stats])
    logging.getLogger("srgan").setLevel(logging.INFO)
    run(trainer)
    loss = from_engine(["loss"], first=True)(trainer.state.output)
    assert f"joint: {loss:.4f}" in capsys.readouterr().out


def test_learning_rate_is_halved_exactly_at_the_step():
    trainer = make_trainer(hr_batches(7))
    scheduler = torch.optim.lr_scheduler.StepLR(trainer.g_optimizer, step_size=3, gamma=0.5)
    used = []
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: used.append(engine.optimizer.param_groups[0]["lr"])
    )
    LrScheduleHandler(scheduler, print_lr=False, epoch_level=False).attach(trainer)
    run(trainer)
    assert used == [1e-3] * 3 + [5e-4] * 3 + [2.5e-4]
    assert trainer.d_optimizer.param_groups[0]["lr"] == 2e-3


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="Must provide batch data"):
        make_trainer([None]).run()


def test_the_critic_alone_learns_from_a_fixed_generator():
    trainer, same = (make_trainer(hr_batches(), train_generator=learns) for learns in (False, True))
    before = copy.deepcopy(trainer.g_network.state_dict())
    critics = []
    for each in (trainer, same):
        each.add_event_handler(
            Events.ITERATION_COMPLETED(once=1),
            lambda engine: critics.append(copy.deepcopy(engine.d_network.state_dict())),
        )
        torch.manual_seed(1)
        each.run()
    torch.testing.assert_close(trainer.g_network.state_dict(), before, rtol=0, atol=0)
    assert not trainer.g_network.training
    # The critic's first step is that of the joint training.
    torch.testing.assert_close(critics[0], critics[1], rtol=0, atol=0)
    assert not torch.equal(critics[0]["head.1.weight"], make_networks()[1].state_dict()["head.1.weight"])
    assert {"loss", "critic_loss"} <= set(trainer.state.output)
