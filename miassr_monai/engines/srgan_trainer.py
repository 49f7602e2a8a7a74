"""Adversarial training of a super-resolution generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents, Trainer, default_metric_cmp_fn
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys as Keys
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from miassr_monai.engines.loss_guard import usable
from miassr_monai.engines.parallel import bare
from miassr_monai.losses import AdversarialLoss, JointLoss

__all__ = ["SRGANTrainer"]


class SRGANTrainer(Trainer):
    """Train a generator and a critic on pairs of LR and HR images (MIASSR's second stage, Zhu et al. 2021).

    MONAI's ``AdversarialTrainer`` shows the critic the LR input as the real image and has no place for a gradient
    penalty. Each iteration here updates the critic on HR against detached output, then the generator on the joint loss.
    A step whose loss is not finite or beyond ``loss_limit`` is discarded: the parameters and the optimiser stay as they
    were.

    ``engine.state.output`` holds the batch's ``image``, ``label`` and ``pred``, the generator's ``loss`` and its terms,
    and the critic's ``critic_loss``, ``critic_adversarial``, ``critic_order`` and, at iterations that evaluate it,
    ``penalty``.
    ``engine.state.discarded`` counts discarded steps.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: batches for ``prepare_batch``.
        g_network: generator, called with the LR images and what ``prepare_batch`` adds.
        g_optimizer: optimiser of the generator.
        g_loss_function: joint loss of the generator.
        d_network: critic.
        d_optimizer: optimiser of the critic.
        d_loss_function: loss of the critic, the adversarial part of the generator's.
        prepare_batch: batch to LR images, HR targets, and the generator's further arguments.
        inferer: runs the generator.
        train_generator: whether the generator is updated, too. Otherwise the critic alone learns, from a generator that
            is fixed and in evaluation mode; the joint loss is still measured.
        loss_limit: magnitude beyond which a loss is discarded.
        epoch_length: iterations in an epoch; the data loader's length unless given.
        non_blocking: copy to the device asynchronously.
        postprocessing: transform of the output.
        key_train_metric: metric of the training output.
        additional_metrics: further metrics.
        metric_cmp_fn: whether a metric is better than the best so far.
        train_handlers: handlers to attach.
        decollate: decollate batch and output, as postprocessing by MONAI's transforms needs.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable | DataLoader,
        g_network: torch.nn.Module,
        g_optimizer: Optimizer,
        g_loss_function: JointLoss,
        d_network: torch.nn.Module,
        d_optimizer: Optimizer,
        d_loss_function: AdversarialLoss,
        prepare_batch: Callable,
        *,
        inferer: Inferer | None = None,
        train_generator: bool = True,
        loss_limit: float = 1e8,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        postprocessing: Callable | None = None,
        key_train_metric: dict | None = None,
        additional_metrics: dict | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        train_handlers: Sequence | None = None,
        decollate: bool = False,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            postprocessing=postprocessing,
            key_metric=key_train_metric,
            additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn,
            handlers=train_handlers,
            decollate=decollate,
        )
        self.g_network = g_network
        self.g_optimizer = g_optimizer
        self.g_loss_function = g_loss_function
        self.d_network = d_network
        self.d_optimizer = d_optimizer
        self.d_loss_function = d_loss_function
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.train_generator = train_generator
        self.loss_limit = loss_limit
        # MONAI's handlers read the learning rate from here.
        self.optimizer = g_optimizer
        self.state.discarded = 0
        self.state_dict_user_keys.append("discarded")

    def _iteration(self, engine: Engine, batchdata: Any) -> dict[str, torch.Tensor]:
        """Update critic and generator, or the critic alone, once.

        Raises:
            ValueError: when ``batchdata`` is None.
        """
        if batchdata is None:
            raise ValueError("Must provide batch data for current iteration.")
        inputs, targets, args, kwargs = self.prepare_batch(
            batchdata, self.state.device, self.non_blocking, **self.to_kwargs
        )
        self.g_network.train(self.train_generator)
        self.d_network.train()
        with torch.set_grad_enabled(self.train_generator):
            prediction = self.inferer(inputs, self.g_network, *args, **kwargs)

        d_losses = self.d_loss_function.critic_loss(self.d_network, targets, prediction, self.state.iteration)
        if self._step(self.d_optimizer, d_losses["critic_loss"]):
            self.d_loss_function.constrain(self.d_network)

        # The critic only passes the gradient on; it collects none of its own.
        trainable = [parameter for parameter in self.d_network.parameters() if parameter.requires_grad]
        self.d_network.requires_grad_(False)
        with torch.set_grad_enabled(self.train_generator):
            g_losses = self.g_loss_function(prediction, targets, bare(self.d_network))
        for parameter in trainable:
            parameter.requires_grad_(True)
        if self.train_generator:
            self._step(self.g_optimizer, g_losses["loss"])

        losses = {name: value.detach() for name, value in {**g_losses, **d_losses}.items()}
        self.state.output = {Keys.IMAGE: inputs, Keys.LABEL: targets, Keys.PRED: prediction.detach(), **losses}
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _step(self, optimizer: Optimizer, loss: torch.Tensor) -> bool:
        """Take a step by a loss, unless it has to be discarded; returns whether it was taken."""
        if not usable(loss, self.loss_limit):
            self.state.discarded += 1
            self.logger.warning(
                f"discarded a step at iteration {self.state.iteration}: its loss is {loss.item():g} "
                f"({self.state.discarded} discarded so far)."
            )
            return False
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return True
