"""The bundle workflow that is running: where its bundle is, what its configuration says, how its errors end."""

from __future__ import annotations

import difflib
import inspect
import json
import os
import pydoc
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, load

from miassr_monai.configuration import check_values
from miassr_monai.files import whole_file
from miassr_monai.processes import number_of_processes

__all__ = ["bundle_root", "check_workflow", "running_workflow", "save_running_config"]

# MONAI's own keys, which `--tracking` reads.
TRACKING_KEYS = {"save_execute_config"}
# And those of components.
COMPONENT_KEYS = ("_target_", "_disabled_", "_mode_", "_requires_", "_desc_")


def callers() -> Iterator[FrameType]:
    """The frames of all callers, the nearest first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def running_workflow() -> ConfigWorkflow | None:
    """The bundle workflow that is running: MONAI hands it to nobody, so it is looked up among the callers."""
    found = (frame.f_locals.get("self") for frame in callers())
    return next((caller for caller in found if isinstance(caller, ConfigWorkflow)), None)


def bundle_root() -> str:
    """The bundle's folder: the one above the ``configs`` that the running workflow has its configuration from.

    As for MONAI, it is the working directory where no workflow is running.
    """
    workflow = running_workflow()
    if workflow is None:
        return "."
    folder = workflow.config_root_path
    return str(folder.parent if folder.name == "configs" else folder)


def save_running_config(path: str | os.PathLike) -> None:
    """Write the configuration of the workflow that is running, overlays and overrides merged, as JSON.

    Raises:
        RuntimeError: when no workflow is running.
        OSError: when it cannot be written.
    """
    workflow = running_workflow()
    if workflow is None:
        raise RuntimeError("the running configuration can only be saved from within `python -m monai.bundle run`.")
    with whole_file(path) as partial:
        partial.write_text(json.dumps(workflow.parser.get(), indent=2), encoding="utf-8")


def check_workflow() -> None:
    """Check the configuration of the workflow that is running before any of it is done.

    To be called first in ``initialize``. In ``python -m monai.bundle``, errors from then on end in one sentence.

    Raises:
        ValueError: when the command line has a key that no configuration file defines, or a value is not accepted.
    """
    if getattr(sys.modules["__main__"].__spec__, "name", None) == "monai.bundle.__main__":
        sys.excepthook = tell
    workflow = running_workflow()
    if workflow is None:
        return
    if number_of_processes() > 1 and not workflow.parser.get("multi_gpu", False):
        raise ValueError(
            f"this was started as {number_of_processes()} processes, which would all do the same: give "
            "configs/multi_gpu_train.json, multi_gpu_evaluate.json or multi_gpu_inference.json behind the "
            "configuration, or start one process."
        )
    given = next((frame.f_locals for frame in callers() if frame.f_code is create_workflow.__code__), None)
    if given is not None:
        # What is left of the arguments are overrides, beside those of the workflow itself.
        own = {*inspect.signature(type(workflow)).parameters, *TRACKING_KEYS}
        check_keys([key for key in given["_args"] if key not in own], given["config_file"])
    check_values(workflow.parser)
    asked = next((frame.f_locals for frame in callers() if frame.f_code is load.__code__), None)
    if asked is not None and not asked["net_override"]:
        build_what_weights_say(workflow.parser, asked["full_path"])


def build_what_weights_say(parser: ConfigParser, path: str) -> None:
    """Let the network of a configuration be that of a weights file.

    ``monai.bundle.load`` gives a network those weights that fit, and leaves the others as they are without a word: the
    network that a training would begin with is another than that of the weights in the bundle.
    """
    parser["network_def"] = {"_target_": "miassr_monai.networks.load_network", "path": path}
    parser.parse(reset=True)


def check_keys(keys: Sequence[str], config_file: str | Sequence[str]) -> None:
    """Refuse keys that no configuration file defines, except arguments of a component that is defined.

    Raises:
        ValueError: when there is one.
    """
    defined = ConfigParser(ConfigParser.load_config_files(config_file))
    for key in keys:
        parent, _, name = key.replace("::", "#").rpartition("#")
        component = defined.get(parent, {})
        component = component if isinstance(component, Mapping) else {}
        # An empty name stands for all that is around it.
        known = [*component, *arguments_of(component)]
        if name and (key in defined or name in known or ("_target_" in component and len(known) == len(component))):
            continue
        similar = difflib.get_close_matches(name, known, n=1)
        nearest = "#".join(filter(None, [parent, *similar]))
        hint = f"did you mean {nearest}?" if similar else "see the configuration files for those that there are."
        raise ValueError(f"there is no key {key!r}: {hint}")


def arguments_of(component: Mapping[str, Any]) -> list[str]:
    """What a component takes, with MONAI's own keys; nothing where that is not known, as of what takes anything."""
    target = component.get("_target_")
    # Names without a module are MONAI's, which looks for them in all of its own.
    found = pydoc.locate(target) if isinstance(target, str) and "." in target else None
    try:
        parameters = inspect.signature(found).parameters.values() if callable(found) else ()
    # Not all that is built in has a signature.
    except ValueError:
        return []
    if not parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return []
    return [*(parameter.name for parameter in parameters), *COMPONENT_KEYS]


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error so that the last line says what went wrong, ``sys.excepthook``.

    MONAI wraps an error in others that only say where in the configuration it was raised. Those of this package are
    told alone, all others after their traceback.
    """
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted.", file=sys.stderr)
        return
    cause = error
    while cause.__cause__ is not None and raised_in(cause, "monai."):
        cause = cause.__cause__
    # MONAI's look_up_option says in a sentence what is to be had.
    if not (raised_in(cause, "miassr_monai.") or (isinstance(cause, ValueError) and raised_in(cause, "monai.utils."))):
        traceback.print_exception(kind, error, trace)
    # Errors of data loading workers come with a traceback of theirs, which the message ends.
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    print(f"error: {lines[-1]}", file=sys.stderr)


def raised_in(error: BaseException, package: str) -> bool:
    """Whether an error was raised by the code of a package."""
    places = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(places) and places[-1].startswith(package)
