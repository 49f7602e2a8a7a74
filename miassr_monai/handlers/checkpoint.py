"""Checkpoints from which a killed run resumes, and weights for use."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

from miassr_monai.files import save_atomically
from miassr_monai.handlers.divergence import is_diverging
from miassr_monai.networks import cpu_weights

__all__ = ["ResumableCheckpoint", "WeightsSaver"]

logger = logging.getLogger(__name__)


class ResumableCheckpoint:
    """Save the whole state of a training stage after each epoch, and start from it when a run is resumed.

    MONAI's ``CheckpointSaver`` writes in place, so a kill while it writes loses the run, and forgets the files of the
    run that it continues. This keeps one file, which is always whole; a stage that is diverging (see
    :class:`StopOnDivergence`) is not saved.

    Args:
        path: file of this stage.
        objects: what makes up the state, by name: networks, optimisers, schedulers, the trainer itself, ...; each has
            ``state_dict`` and ``load_state_dict``.
        resume: load the file, if there is one, when the engine starts.
        interval: epochs between two checkpoints; the last epoch is always saved.
    """

    def __init__(
        self, path: str | os.PathLike, objects: Mapping[str, Any], *, resume: bool = False, interval: int = 1
    ) -> None:
        self.path = Path(path)
        self.objects = dict(objects)
        self.resume = resume
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Load at the start, save after epochs."""
        self.objects["trainer"] = engine
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, engine: Engine) -> None:
        """Load the file if the run is resumed and there is one; the engine keeps its own number of epochs.

        Raises:
            ValueError: when the file is damaged, was saved by a run of another kind, or has epochs of another length.
        """
        if not self.resume:
            return
        if not self.path.is_file():
            logger.warning(f"there is no {self.path} to resume from: this stage starts at its beginning.")
            return
        max_epochs, epoch_length = engine.state.max_epochs, engine.state.epoch_length
        try:
            checkpoint = torch.load(self.path, map_location="cpu", weights_only=True)
            saved_length = checkpoint["trainer"]["epoch_length"]
        # On a damaged file the unpickler raises nearly anything.
        except Exception as error:
            raise ValueError(
                f"{self.path} is damaged or no checkpoint: delete it to start this stage from its beginning."
            ) from error
        if saved_length != epoch_length:
            raise ValueError(
                f"{self.path} was saved with {saved_length} iterations per epoch, but this run has {epoch_length}: "
                "resume with the same batch size, samples and epoch length."
            )
        # A stage that was finished is not longer than it was, whatever this run asks of it.
        epochs_done = checkpoint["trainer"]["iteration"] // saved_length
        checkpoint["trainer"]["max_epochs"] = max(max_epochs, epochs_done)
        try:
            Checkpoint.load_objects(to_load=self.objects, checkpoint=checkpoint, strict=True)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
            raise ValueError(
                f"{self.path} was saved by a run with another configuration ({reason}): resume with the one in "
                f"{self.path.parent / 'config.json'}, or start anew."
            ) from error
        logger.info(f"resumed after epoch {engine.state.epoch} from {self.path}")

    def save(self, engine: Engine) -> None:
        """Save the state."""
        if is_diverging(engine):
            return
        last = engine.state.epoch == engine.state.max_epochs
        if idist.get_rank() == 0 and (last or engine.state.epoch % self.interval == 0):
            save_atomically({name: item.state_dict() for name, item in self.objects.items()}, self.path)


class WeightsSaver:
    """Save a network's weights after each epoch of a trainer, or after each run of an evaluator that is better than any
    before.

    The state of one with a metric belongs in the :class:`ResumableCheckpoint`, so that a resumed run knows what it has
    to beat. Weights that are not finite, or of a trainer that is diverging (see :class:`StopOnDivergence`), are not
    saved: what was saved before stays.

    Args:
        path: file for the bare state dictionary.
        network: network to save.
        metric: name of the evaluator's metric, the higher the better; ``None`` saves always.
    """

    def __init__(self, path: str | os.PathLike, network: torch.nn.Module, metric: str | None = None) -> None:
        self.path = Path(path)
        self.network = network
        self.metric = metric
        self.best = float("-inf")
        # Whether this process has saved weights, and has trained since.
        self.saved = self.unsaved = False

    def attach(self, engine: Engine) -> None:
        """Save at the end of a trainer's epochs or an evaluator's runs."""
        engine.add_event_handler(Events.ITERATION_STARTED, self.note_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED if self.metric is None else Events.COMPLETED, self)

    def note_step(self) -> None:
        """Weights that were saved before are no longer the latest."""
        self.unsaved = True

    def __call__(self, engine: Engine) -> None:
        """Save the network if it is to be saved."""
        if self.metric is not None:
            value = float(engine.state.metrics[self.metric])
            if not value > self.best:
                return
            self.best = value
        self.save(engine)

    def save(self, engine: Engine) -> None:
        """Save the network as it is, if it can be used."""
        finite = all(bool(torch.isfinite(values).all()) for values in self.network.parameters())
        if not finite or is_diverging(engine):
            return
        if idist.get_rank() == 0:
            save_atomically(cpu_weights(self.network), self.path)
        self.saved, self.unsaved = True, False

    def state_dict(self) -> dict[str, float]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take over the best value of the run that is continued."""
        self.best = state["best"]
