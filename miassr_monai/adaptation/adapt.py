"""Fine-tuning of a network on the slices of one scan."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping, EMAHandler
from monai.data import list_data_collate
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, PeakSignalToNoiseRatio, ValidationHandler
from monai.transforms import Compose, RandFlip, RandRotate90, RandSpatialCrop
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from miassr_monai.adaptation.corrected_inferer import CorrectedInferer
from miassr_monai.adaptation.slice_pairs import Degrade, SlicePairs, split_slices
from miassr_monai.handlers import DiscardLoss, StageTimeLimit
from miassr_monai.inferers import SuperResolutionInferer

__all__ = ["Adaptation", "adapt"]


@dataclass(frozen=True)
class Adaptation:
    """How much a network is adapted to a scan.

    Attributes:
        minutes: of training at most; the learning rate follows the time where that is short.
        steps: at most; 400 unless given, or 3000 of a network that starts from nothing.
        learning_rate: the largest, of Adam; 0.0003 unless given, or 0.001 of a network that starts from nothing.
        batch_size: patches in a step.
        patch_size: of square patches, in pixels.
        seed: of everything random. Results are the same again where the steps, and not the minutes, end the training.
    """

    minutes: float = 5.0
    steps: int | None = None
    learning_rate: float | None = None
    batch_size: int = 12
    patch_size: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "steps", "learning_rate", "batch_size", "patch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} of an adaptation must be above 0, got {value}.")

    def schedule(self, *, untrained: bool) -> tuple[int, float]:
        """The steps and the largest learning rate, for a network with weights or for one that starts from nothing."""
        steps, rate = (3000, 1e-3) if untrained else (400, 3e-4)
        return self.steps or steps, self.learning_rate or rate


# Of all steps, those in which the learning rate rises.
WARM_UP = 0.1
# Momentum of the moving average of the weights.
MOMENTUM = 0.02
# How often the held-out slices are looked at, and how many times in a row they may be worse than before.
VALIDATIONS, PATIENCE = 5, 2


class Patches(Dataset):
    """Random patches of slices, flipped and turned.

    Args:
        slices: ``(N, C, h, w)``.
        size: of the square patches, at most that of the slices.
        seed: of what is random.
    """

    def __init__(self, slices: torch.Tensor, size: int, seed: int) -> None:
        side = min(size, *slices.shape[2:])
        turns = [RandFlip(0.5, spatial_axis=0), RandRotate90(0.75, max_k=3)]
        self.slices = slices
        self.transform = Compose([RandSpatialCrop((side, side), random_size=False), *turns])
        self.transform.set_random_state(seed)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.transform(self.slices[index])}


class BestWeights:
    """Keep the weights with which an evaluator found the highest PSNR.

    Args:
        network: the network that it evaluates.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.psnr: list[float] = []
        self.weights: dict[str, Any] = {}

    def __call__(self, engine: SupervisedEvaluator) -> None:
        """Look at the PSNR."""
        psnr = engine.state.metrics["psnr"]
        if psnr > max(self.psnr, default=-math.inf):
            self.weights = copy.deepcopy(self.network.state_dict())
        self.psnr.append(psnr)


def adapt(
    network: nn.Module,
    slices: torch.Tensor,
    degradation: Degrade,
    *,
    spacing: float,
    fine: float = 1.0,
    settings: Adaptation,
    untrained: bool = False,
    corrected: bool = False,
    amp: bool = False,
    progress: Callable[..., Any] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Fine-tune a network on the slices of a scan, as long as that helps on others of them.

    Args:
        network: for slices, with a scale for each axis; it stays as it is.
        slices: of the scan, ``(N, C, h, w)`` in [0, 1].
        degradation, spacing, fine: what slices see, and distances in pixels, see :class:`SlicePairs`.
        settings: how much.
        untrained: whether the network starts from nothing.
        corrected: whether results will be corrected to agree with the scan: then so is what is trained and looked at.
        amp: train in bfloat16.
        progress: shows the progress, such as ``tqdm``; called on an iterable with ``total``.

    Returns:
        The network with the weights that do best on the held-out slices, which may be those that it had, on its device;
        and what was done: ``steps``, ``seconds``, ``held_out`` (slices), ``psnr_before`` and ``psnr_after`` (dB, of
        these), and whether the new weights are ``used``.

    Raises:
        ValueError: when there are too few slices.
    """
    start = time.perf_counter()
    steps, learning_rate = settings.schedule(untrained=untrained)
    training, held_out = split_slices(slices)
    pairs = SlicePairs(degradation, spacing=spacing, fine=fine)
    inferer = partial(CorrectedInferer, degradation) if corrected else SuperResolutionInferer
    device = next(network.parameters()).device
    adapted = copy.deepcopy(network)
    average = EMAHandler(adapted, MOMENTUM)
    best = BestWeights(average.ema_model)
    evaluator = make_evaluator(average.ema_model, held_out, pairs, best, device, inferer(amp=amp))
    evaluator.run()
    patches = patches_of(training, settings, steps)
    limit = StageTimeLimit(settings.minutes)
    optimizer = torch.optim.Adam(adapted.parameters(), learning_rate)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=1,
        epoch_length=steps,
        train_data_loader=patches if progress is None else progress(patches, total=steps),
        network=adapted,
        optimizer=optimizer,
        loss_function=nn.L1Loss(),
        prepare_batch=pairs,
        inferer=inferer(settings.batch_size, amp=amp),
        train_handlers=[one_cycle(optimizer, limit, settings.minutes, steps), DiscardLoss(), limit],
        optim_set_to_none=True,
    )
    average.attach(trainer)
    ValidationHandler(max(1, steps // VALIDATIONS), evaluator, epoch_level=False).attach(trainer)
    EarlyStopping(PATIENCE, lambda engine: engine.state.metrics["psnr"], trainer).attach(evaluator)
    trainer.run()
    evaluator.run()
    adapted.load_state_dict(best.weights)
    before, after = best.psnr[0], max(best.psnr)
    return adapted.eval(), {
        "steps": trainer.state.iteration,
        "seconds": round(time.perf_counter() - start, 3),
        "held_out": len(held_out),
        "psnr_before": before,
        "psnr_after": after,
        "used": after > before,
    }


def make_evaluator(
    network: nn.Module,
    slices: torch.Tensor,
    pairs: SlicePairs,
    best: BestWeights,
    device: torch.device,
    inferer: SuperResolutionInferer,
) -> SupervisedEvaluator:
    """Evaluator of slices made coarse along either axis."""
    both: Any = [{"image": image} for image in (*slices, *slices.transpose(-1, -2))]
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(both, collate_fn=list_data_collate, generator=torch.Generator()),
        network=network,
        prepare_batch=pairs,
        inferer=inferer,
        key_val_metric={"psnr": PeakSignalToNoiseRatio(1.0, output_transform=lambda o: (o["pred"], o["label"]))},
        decollate=False,
    )
    evaluator.add_event_handler(Events.COMPLETED, best)
    return evaluator


def patches_of(slices: torch.Tensor, settings: Adaptation, steps: int) -> DataLoader:
    """Batches of random patches, one for each step."""
    patches = Patches(slices, settings.patch_size, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    sampler = RandomSampler(patches, True, steps * settings.batch_size, generator=generator)
    batches: Any = {"batch_size": settings.batch_size, "collate_fn": list_data_collate, "generator": generator}
    return DataLoader(patches, sampler=sampler, **batches)


def one_cycle(optimizer: torch.optim.Optimizer, limit: StageTimeLimit, minutes: float, steps: int) -> LrScheduleHandler:
    """A learning rate that rises, and falls to nothing when the steps or the time are over."""

    def rate(step: int) -> float:
        part = min(1.0, max((step + 1) / steps, limit.seconds / (60 * minutes)))
        return min(part / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * (part - WARM_UP) / (1 - WARM_UP)))

    schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    return LrScheduleHandler(schedule, print_lr=False, epoch_level=False)
