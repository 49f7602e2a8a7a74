"""Damaged and hostile files and configurations: each ends in a result or in a refusal of one sentence.

python benchmarks/fuzz.py --count 10000 --seed 0 --json fuzz.json
python benchmarks/fuzz.py --seed 0 --kind nrrd --index 17

The second command makes one input again and leaves it in the working directory. Anything else than a result that can be
used, or a ValueError of this package or an OSError whose message is one printable line, is printed with its kind, seed
and index, once for each place that it comes from; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import functools
import gzip
import json
import math
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser
from timing import write_json

from miassr_monai.bundle import default_bundle, find_model
from miassr_monai.configuration import RULES, check_values
from miassr_monai.data import load_volume
from miassr_monai.networks import EDSR, MetaSRGenerator, SRResNet, SubPixelGenerator, load_network
from miassr_monai.workflow import check_keys, raised_in

# What an input may take beside what the imports have, so that one that asks for much more shows.
MEMORY = 3 << 30
CONFIGS = default_bundle() / "configs"
WORDS = ["", "x", "two", "1x2", "0x9", "nan", "-1", "1e999", "Größe", "a\nb", "\ud800", "\x1b[0m", "@width", "@missing"]
NUMBERS = [0, 1, -1, 2, 77, 0.5, -0.0, 1e-45, 3e38, -3e38, 1e308, math.nan, math.inf, -math.inf, 2**31, 2**64, 10**400]
DTYPES = [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.float64, torch.complex64]
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "6 5 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}
GOOD_NRRD = {
    "type": ["ushort", "int16", "uchar"],
    "space": ["right-anterior-superior", "scanner-xyz", "LAS"],
    "sizes": ["5 4 6", "1 1 60", "60 2 1"],
    "space directions": ["(0,1,0) (1,0,0) (0,0,1)", "(0.5,0.5,0) (-1,1,0) (0,0,9)"],
    "endian": ["big"],
    "encoding": ["gzip"],
    "spacings": ["1 2 3"],
}
# Those that are there twice are the likelier ones.
NRRD_VALUES = (
    "-1 0 0 1 1 2 2 4 9 99999999999 nan inf none ??? float double int8 uint64 block ascii gzip bzip2 hex big () (1,0) "
    "(0,0,0) (nan,0,0) (1,0,0)(0,1,0) 1e308 1e-308 scanner-xyz right-anterior-superior vector complex RGB-color list "
    "LIST /dev/zero /dev/null missing.raw %d.raw"
)
OTHER_NRRD_FIELDS = "data file,line skip,byte skip,spacings,measurement frame,block size,old min,x:=y"


class UnusableError(Exception):
    """A result that is none."""


def pick(rng: np.random.Generator, values: Any) -> Any:
    """One of them, and not a copy that numpy made."""
    return values[rng.integers(len(values))]


def anything(rng: np.random.Generator, depth: int = 3) -> Any:
    """A value that JSON can hold, of any kind."""
    kind = rng.integers(8 if depth else 6)
    if kind < 6:
        return [pick(rng, (None, True, False)), pick(rng, WORDS), *(pick(rng, NUMBERS) for _ in range(4))][kind]
    parts = [anything(rng, depth - 1) for _ in range(rng.integers(4))]
    return parts if kind == 6 else {pick(rng, WORDS): part for part in parts}


def changed(rng: np.random.Generator, values: Any) -> Any:
    """JSON with some of its values replaced by others, left out, or moved."""
    values = copy.deepcopy(values)
    for _ in range(rng.integers(1, 4)):
        place = values
        while isinstance(place, dict) and place:
            name = pick(rng, list(place))
            if not isinstance(place[name], dict) or rng.random() < 0.3:
                action = rng.integers(8)
                moved = place.pop(name)
                if action:
                    place[name if action > 1 else pick(rng, WORDS)] = moved if action == 1 else anything(rng)
                break
            place = place[name]
    return values if rng.random() < 0.9 else anything(rng)


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes of which some are others, or the end, or a part in the middle, is missing."""
    action = rng.integers(4)
    start, stop = sorted(rng.integers(len(content) + 1, size=2))
    if action == 0:
        return content[:stop]
    if action == 1:
        return content[:start] + content[stop:]
    result = bytearray(content)
    # Most of what matters is at the beginning.
    for _ in range(rng.integers(1, 9)):
        result[rng.integers(len(content) if action == 2 else min(400, len(content)))] = rng.integers(256)
    return bytes(result)


@functools.cache
def nifti_images() -> list[bytes]:
    """NIfTI files of several types and numbers of axes."""
    voxels = np.random.default_rng(0).integers(0, 900, (6, 5, 4, 2))
    images = []
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        for part, dtype in ((voxels[..., 0], np.int16), (voxels, np.float32), (voxels[:, :, 0, 0], np.uint8)):
            images.append(kind(part.astype(dtype), np.diag([0.7, 0.7, 3.0, 1.0])).to_bytes())
    return images


def nifti(rng: np.random.Generator, path: Path) -> Path:
    """A NIfTI file with damaged bytes or wrong fields, compressed or not."""
    content = pick(rng, nifti_images())
    if rng.random() < 0.7:
        header = (nib.Nifti1Header if content[0] == 92 else nib.Nifti2Header).template_dtype
        fields = np.frombuffer(bytearray(content[: header.itemsize]), header).copy()
        for _ in range(rng.integers(1, 4)):
            values = fields[pick(rng, header.names)].reshape(-1)
            if values.dtype.kind not in "iuf":
                values[:] = rng.bytes(values.itemsize)
                continue
            value = pick(rng, NUMBERS) if rng.random() < 0.5 else int(rng.integers(-300, 3000))
            if values.dtype.kind in "iu":
                limits = np.iinfo(values.dtype)
                value = int(min(max(value, limits.min), limits.max)) if value == value else 0
            with np.errstate(over="ignore"):
                values[rng.integers(len(values))] = value if abs(value) < 1e300 else math.inf
        content = fields.tobytes() + content[header.itemsize :]
    else:
        content = damaged(rng, content)
    compressed = rng.random() < 0.4
    if compressed:
        content = gzip.compress(content, 1, mtime=0)
        content = damaged(rng, content) if rng.random() < 0.3 else content
    path = path.with_suffix(".nii.gz" if compressed else ".nii")
    path.write_bytes(content)
    return path


def nrrd(rng: np.random.Generator, path: Path) -> Path:
    """An NRRD file with wrong, missing or more fields, or damaged bytes."""
    fields = dict(NRRD)
    for _ in range(rng.integers(1, 3)):
        name = pick(rng, [*NRRD, *OTHER_NRRD_FIELDS.split(",")])
        if rng.random() < 0.2:
            fields.pop(name, None)
        else:
            count = rng.integers(1, 5) if rng.random() < 0.5 else len(fields.get(name, "").split())
            fields[name] = " ".join(pick(rng, NRRD_VALUES.split()) for _ in range(count))
            if rng.random() < 0.5:
                fields[name] = pick(rng, GOOD_NRRD.get(name, ["0"]))
    header = "".join(f"{name}: {value}\n" for name, value in fields.items())
    voxels = np.random.default_rng(0).integers(0, 900, 120, np.int16).tobytes()
    content = f"NRRD000{pick(rng, [1, 4, 5, 9])}\n{header}\n".encode()
    content += gzip.compress(voxels, mtime=0) if fields.get("encoding") == "gzip" else voxels
    path = path.with_suffix(".nrrd")
    path.write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
    return path


@functools.cache
def networks() -> list[dict[str, Any]]:
    """State dictionaries of small generators, with their definitions as JSON."""
    torch.manual_seed(0)
    trunk = EDSR(width=4, depth=1)
    made = [MetaSRGenerator(trunk, hidden_channels=4, skip="bicubic"), MetaSRGenerator(trunk, anisotropic=True)]
    made += [SubPixelGenerator(trunk, scales=[2]), SubPixelGenerator(SRResNet(width=4, depth=1), scales=[2, 3])]
    return [{**network.state_dict(), "_extra_state": network.definition()} for network in made]


def other_tensor(rng: np.random.Generator, tensor: torch.Tensor) -> Any:
    """A tensor of another type, layout, shape or device, one of other values, or none at all."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.numel() > 1 << 20:
        return anything(rng)
    tensor, fill = tensor.detach(), float(min(pick(rng, NUMBERS), 1e308))
    return pick(
        rng,
        [
            lambda: tensor.to(pick(rng, DTYPES)),
            lambda: tensor.to_sparse(),
            lambda: tensor.to("meta"),
            lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
            lambda: tensor.new_zeros(1).expand(4096, 4096, 99),
            lambda: torch.zeros(()).expand(tensor.shape),
            lambda: tensor.new_zeros(tuple(rng.integers(0, 9, size=rng.integers(0, 5)))),
            lambda: tensor.double().fill_(fill),
            lambda: tensor.transpose(0, -1) if tensor.ndim else tensor[None],
            lambda: anything(rng),
        ],
    )()


def weights(rng: np.random.Generator, path: Path) -> Path:
    """A weights file with other keys, tensors or definition, or damaged bytes."""
    state = dict(pick(rng, networks()))
    if rng.random() < 0.5:
        state["_extra_state"] = changed(rng, state["_extra_state"])
    state["_extra_state"] = torch.tensor(list(json.dumps(state["_extra_state"]).encode()), dtype=torch.uint8)
    for _ in range(rng.integers(3)):
        name = pick(rng, list(state))
        tensor = state.pop(name)
        if action := rng.integers(6):
            changes = isinstance(tensor, torch.Tensor) and action > 1
            state[name if action > 1 else pick(rng, WORDS)] = other_tensor(rng, tensor) if changes else tensor
    path = path.with_suffix(".pt")
    torch.save(state if rng.random() < 0.95 else pick(rng, [anything(rng), *state.values()]), path)
    if rng.random() < 0.3:
        path.write_bytes(damaged(rng, path.read_bytes()))
    return path


def metadata(rng: np.random.Generator, path: Path) -> Path:
    """A bundle whose metadata is JSON of the wrong kinds, or damaged."""
    values = changed(rng, json.loads((CONFIGS / "metadata.json").read_text()))
    if isinstance(values, dict) and rng.random() < 0.5:
        values["trained_for"] = changed(rng, values.get("trained_for"))
    content = json.dumps(values).encode()
    for folder in (path / "configs", path / "models"):
        folder.mkdir(parents=True, exist_ok=True)
    (path / "models" / "model.pt").touch()
    (path / "configs" / "metadata.json").write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
    return path


def config(rng: np.random.Generator, path: Path) -> tuple[str, dict[str, Any]]:
    """Overrides of one of the bundle's configurations."""
    name = pick(rng, ["train", "train", "evaluate", "inference"])
    keys = [*RULES, "intensity_lower", "intensity_upper", "network_def::projection", "train#inferer#amp", *WORDS]
    return name, {pick(rng, keys): anything(rng) for _ in range(rng.integers(1, 4))}


def use_volume(path: Path) -> None:
    """Read a volume and look at its values and geometry."""
    volume = load_volume(path)
    if not (torch.isfinite(volume.as_tensor()).all() and torch.isfinite(torch.linalg.inv(volume.affine)).all()):
        raise UnusableError("values that are not finite, or an affine that cannot be inverted")


@torch.inference_mode()
def use_network(path: Path) -> None:
    """Read a network and super-resolve a little with it."""
    network = load_network(path)
    image = torch.linspace(0, 1, 16 * network.in_channels).reshape(1, -1, 4, 4)
    size = tuple(network(image, 2.0).shape)
    if size != (1, network.in_channels, 8, 8):
        raise UnusableError(f"an image of size {size}")


def use_metadata(path: Path) -> None:
    """Read a bundle's metadata, and write them as a report does."""
    _, values = find_model(path)
    json.dumps(values)


def use_config(override: tuple[str, dict[str, Any]]) -> None:
    """Check a configuration as a workflow does before anything starts."""
    name, values = override
    file = CONFIGS / f"{name}.json"
    check_keys(list(values), str(file))
    parser = ConfigParser()
    parser.read_config(file)
    parser.update(values)
    check_values(parser)


KINDS: dict[str, tuple[Callable[..., Any], Callable[[Any], None]]] = {
    "nifti": (nifti, use_volume),
    "nrrd": (nrrd, use_volume),
    "weights": (weights, use_network),
    "metadata": (metadata, use_metadata),
    "config": (config, use_config),
}


def is_refusal(error: Exception) -> bool:
    """Whether an error is one sentence for a user."""
    ours = isinstance(error, OSError) or (isinstance(error, ValueError) and raised_in(error, "miassr_monai."))
    return ours and str(error) != "" and str(error).isprintable()


def attempt(kind: str, seed: int, index: int, folder: Path) -> tuple[str, Exception | None]:
    """Make an input, use it, and say how that ended."""
    make, use = KINDS[kind]
    subject = make(np.random.default_rng([seed, index]), folder / f"{kind}_{index}")
    try:
        use(subject)
    except Exception as error:
        return ("refused" if is_refusal(error) else "OTHER"), error
    return "result", None


def run(kind: str, seed: int, count: int, seen: set[tuple[str, ...]]) -> dict[str, float]:
    """Try inputs of a kind: how many ended how, and how long they took."""
    counts, slowest, start = Counter(result=0, refused=0, OTHER=0), 0.0, time.monotonic()
    for index in range(count):
        # A folder each: what is left after a crash is the input that it came from.
        with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
            before = time.monotonic()
            end, error = attempt(kind, seed, index, Path(folder))
            slowest = max(slowest, time.monotonic() - before)
        counts[end] += 1
        if end == "OTHER":
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = (kind, type(error).__name__, f"{Path(place.filename).name}:{place.lineno}")
            if where not in seen:
                print(*where, f"--seed {seed} --index {index}: {str(error)[:300]!r}", flush=True)
            seen.add(where)
    return {"inputs": count, **counts, "seconds": time.monotonic() - start, "slowest": slowest}


def main() -> int:
    """Try all kinds of input and print how they ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="inputs in all, as many of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--index", type=int, help="make this one input of each kind again")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    if args.index is not None:
        for kind in args.kind:
            end, error = attempt(kind, args.seed, args.index, Path.cwd())
            print(f"{kind}: {end}")
            traceback.print_exception(error)
        return 0
    seen: set[tuple[str, ...]] = set()
    rows = {kind: run(kind, args.seed, args.count // len(args.kind), seen) for kind in args.kind}
    print(pd.DataFrame(rows).T.round(1).to_string())
    if args.json:
        write_json(args.json, rows)
    return int(bool(seen))


if __name__ == "__main__":
    raise SystemExit(main())
