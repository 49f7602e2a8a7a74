"""Check a bundle of `zoo/make_bundle.py` where only MONAI and the packages that it declares are installed.

python zoo/check_bundle.py requirements dist/NAME      print what has to be installed
python zoo/check_bundle.py run dist/NAME.zip           unpack it somewhere and try everything, from other folders
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["check", "requirements"]

# What the schema that metadata name requires, which is on the Internet.
REQUIRED = [
    *(f"{name}_version" for name in ("monai", "pytorch", "numpy", "required_packages")),
    *("schema", "version", "task", "description", "authors", "copyright", "network_data_format"),
]
SCALES = (1.5, 2.37, 4.0)
# So many the README has at least.
FEWEST_COMMANDS = 8
# A training of seconds instead of hours.
TINY = {
    "epoch_length": 2,
    "warmup_epochs": 1,
    "gan_epochs": 1,
    "val_interval": 1,
    "val_scales": [2.0],
    "val_slice_step": 1,
    "patch_size": 32,
    "input_size": None,
    "batch_size": 2,
    "samples_per_volume": 2,
    "amp": False,
    "perceptual_weight": 0,
    "critic_width": 4,
    "device": "cpu",
}
# An evaluation of one scale.
SHORT = {"slice_step": 2, "scales": [2.0], "degradations": ["paper"], "section": "test", "with_frd": False}


def requirements(folder: Path) -> list[str]:
    """What a bundle's metadata declares, for pip."""
    metadata = json.loads((folder / "configs/metadata.json").read_text(encoding="utf-8"))
    fixed = {name: metadata[f"{key}_version"] for name, key in [("monai",) * 2, ("torch", "pytorch"), ("numpy",) * 2]}
    wanted = {**fixed, **metadata["required_packages_version"]}
    return [f"{name}{version if version[0] in '<>=!~' else f'=={version}'}" for name, version in wanted.items()]


def check_networks(root: Path) -> None:
    """The shipped network comes out of both workflows, with the code of the bundle and its weights, without data."""
    import torch
    from monai.bundle import load

    weights = torch.load(root / "models/model.pt", weights_only=True)
    for kind in ("inference", "train"):
        network = load(root.name, bundle_dir=str(root.parent), source="github", workflow_type=kind, device="cpu")
        code = Path(inspect.getfile(type(network)))
        if not code.is_relative_to(root / "scripts"):
            raise AssertionError(f"the network of the {kind} workflow comes from {code}.")
        state = network.state_dict()
        if list(state) != list(weights) or not all(torch.equal(state[name], weights[name]) for name in weights):
            raise AssertionError(f"the network of the {kind} workflow does not have the shipped weights.")


def check_tools(root: Path, data: Path) -> None:
    """MONAI's own tools, called from a folder that is not the bundle's."""
    import torch
    from monai.bundle import ckpt_export, create_workflow, load, verify_metadata, verify_net_in_out

    for kind in ("inference", "train"):
        file = str(root / f"configs/{kind}.json")
        workflow = create_workflow(config_file=file, workflow_type=kind, dataset_dir=str(data), device="cpu")
        if missing := workflow.check_properties():
            raise AssertionError(f"the {kind} workflow lacks {missing}.")
    config, meta = str(root / "configs/inference.json"), str(root / "configs/metadata.json")
    schema = Path("schema.json")
    schema.write_text(json.dumps({"type": "object", "required": REQUIRED}), encoding="utf-8")
    verify_metadata(meta_file=meta, filepath=str(schema))
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, bundle_root=str(root), device="cpu")
    ckpt_export(
        net_id="network_def",
        filepath="model.ts",
        ckpt_file=str(root / "models/model.pt"),
        meta_file=meta,
        config_file=config,
        bundle_root=str(root),
    )
    exported, image = torch.jit.load("model.ts"), torch.rand(1, 1, 23, 17)
    network = load(root.name, bundle_dir=str(root.parent), source="github", workflow_type="train", device="cpu").eval()
    with torch.no_grad():
        for scale in SCALES:
            torch.testing.assert_close(exported(image, scale), network(image, scale), rtol=0, atol=1e-6)


def check_commands(root: Path, data: Path) -> None:
    """The commands of the bundle's README, with what is short instead of long, from its folder and from elsewhere."""
    readme = (root / "docs/README.md").read_text(encoding="utf-8")
    places = {"/path/to/data": str(data), "volume.nii.gz": str(data / "test/volume.nii.gz")}
    count = 0
    for line in re.findall(r"^python -m monai\.bundle ((?:run|ckpt_export) .+)$", readme, re.MULTILINE):
        for name, place in places.items():
            line = line.replace(name, place)
        words = shlex.split(line)
        command([*words, *overrides({"training": TINY, "evaluating": SHORT}.get(words[1], {}))], root)
        count += 1
    if count < FEWEST_COMMANDS:
        raise AssertionError(f"the README has only {count} commands.")


def overrides(values: dict[str, Any]) -> list[str]:
    """Values as arguments of `monai.bundle run`."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def command(words: list[str], folder: Path) -> None:
    """Run a command of `monai.bundle`.

    Raises:
        RuntimeError: when it fails.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    print(f"{time.perf_counter() - start:6.1f} s  {' '.join(words)[:150]}", flush=True)


def make_data(folder: Path) -> Path:
    """A data set of three small volumes of noise."""
    import nibabel as nib
    import numpy as np

    values = np.random.default_rng(0)
    for section in ("training", "validation", "test"):
        (folder / section).mkdir(parents=True)
        image = nib.Nifti1Image(values.uniform(100, 900, (40, 36, 4)).astype(np.float32), np.diag([1, 1, 3, 1]))
        nib.save(image, folder / section / "volume.nii.gz")
    return folder


def check(archive: Path) -> None:
    """Unpack a bundle and try it; see the top of this file.

    Raises:
        AssertionError, RuntimeError: when something is not as it has to be.
    """
    archive = archive.resolve()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(place)
        root = place / archive.stem
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        os.chdir(elsewhere)
        data = make_data(place / "data")
        check_networks(root)
        check_tools(root, data)
        print("MONAI's own tools: load, create_workflow, verify_metadata, verify_net_in_out, ckpt_export")
        check_commands(root, data)
        # The same by full paths, from a folder that has nothing to do with the bundle.
        for run_id, file, more in (
            ("training", "train", {**TINY, "dataset_dir": data}),
            ("inference", "inference", {"input": data / "test", "scale": 2.5}),
        ):
            words = ["run", run_id, "--config_file", str(root / f"configs/{file}.json")]
            command([*words, *overrides({**more, "output_dir": elsewhere / run_id})], elsewhere)
        print(f"Python {platform.python_version()}, {', '.join(requirements(root))}: all passed")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["requirements", "run"])
    parser.add_argument("path", type=Path, help="folder of the bundle, or its zip")
    args = parser.parse_args()
    if args.what == "requirements":
        print("\n".join(requirements(args.path)))
    else:
        check(args.path)


if __name__ == "__main__":
    main()
