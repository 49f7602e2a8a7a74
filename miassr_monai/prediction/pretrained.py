"""Models from where they are shared: a folder, a zip or the Hugging Face Hub; no code of theirs is run."""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from monai.utils import optional_import

from miassr_monai.bundle import METADATA, WEIGHTS, file_hash, find_model
from miassr_monai.prediction.model import TrainedModel, load_model

__all__ = ["load_pretrained"]

hf_hub_download, has_hub = optional_import("huggingface_hub", name="hf_hub_download")

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# What is unpacked of an archive, which can grow a thousandfold, at most.
LARGEST_FILE = 2**30


def load_pretrained(
    source: str | os.PathLike,
    device: str | torch.device | None = None,
    *,
    sha256: str | None = None,
    revision: str | None = None,
) -> TrainedModel:
    """Load a shared model for inference: its weights and its metadata, and nothing else that comes with them.

    Args:
        source: bundle folder; weights file; zip of a bundle, as MONAI's Model Zoo has it; or the name of a repository
            ``owner/name`` on the Hugging Face Hub with the files of a bundle, where there is no such folder.
        device: where to put it; the first GPU, or the CPU where there is none, unless given.
        sha256: what the hash of the weights must be. One that the metadata tell, as ``weights_sha256``, is checked,
            too.
        revision: branch, tag or commit of the repository on the Hub.

    Raises:
        FileNotFoundError: when there is no such model.
        ImportError: when it is on the Hub, and ``huggingface_hub`` is not installed.
        ValueError: when the hash is another, or the model cannot be used.
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() == ".zip":
        return load_zip(path, device, sha256)
    if not path.exists() and isinstance(source, str) and HUB_ID.fullmatch(source):
        path = download(source, revision)
    return load_checked(path, device, sha256, str(source))


def load_checked(path: Path, device: str | torch.device | None, sha256: str | None, name: str) -> TrainedModel:
    """Load a model from disk if its hash is right; it is checked before the weights are read.

    Raises:
        ValueError: when the hash is another.
    """
    weights, metadata = find_model(path)
    found = file_hash(weights)
    for wanted in (sha256, metadata.get("weights_sha256")):
        if wanted is not None and str(wanted).lower() != found:
            raise ValueError(f"the weights of {name} have the SHA-256 {found}, not {wanted}: get them again.")
    return load_model(path, device)


def load_zip(path: Path, device: str | torch.device | None, sha256: str | None) -> TrainedModel:
    """Load a model from a zip, of which only its weights and metadata are unpacked, under names that are known here.

    Raises:
        ValueError: when it is no zip of one bundle.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as archive:
                for file in (WEIGHTS, METADATA):
                    unpack(archive, file, folder)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise ValueError(f"{path} is damaged or no zip ({error}): get it again.") from error
        if not (folder / WEIGHTS).is_file():
            raise ValueError(f"{path} does not hold one bundle with {WEIGHTS}: give the zip of a bundle.")
        model = load_checked(folder, device, sha256, str(path))
        return dataclasses.replace(model, path=path)


def unpack(archive: zipfile.ZipFile, file: Path, folder: Path) -> None:
    """Write a file of a bundle, which may lie in a folder of the archive, to its place in a folder, if it is there.

    Raises:
        ValueError: when it is larger than any weights.
    """
    members = [m for m in archive.infolist() if re.fullmatch(rf"(?:[^/]+/)?{re.escape(file.as_posix())}", m.filename)]
    if len(members) != 1:
        return
    with archive.open(members[0]) as packed:
        content = packed.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{archive.filename} holds a {file} of more than {LARGEST_FILE} bytes: give another.")
    (folder / file).parent.mkdir()
    (folder / file).write_bytes(content)


def download(name: str, revision: str | None) -> Path:
    """The weights of a repository on the Hub, in the cache of ``huggingface_hub``, which needs no network once they are
    there.

    Raises:
        FileNotFoundError: when they cannot be had.
        ImportError: when ``huggingface_hub`` is not installed.
    """
    if not has_hub:
        raise ImportError(
            f"there is no file or folder {name}; to get it from the Hugging Face Hub: pip install huggingface_hub."
        )
    try:
        # The weights lie beside the metadata, as in a bundle.
        hf_hub_download(name, METADATA.as_posix(), revision=revision)
        return Path(hf_hub_download(name, WEIGHTS.as_posix(), revision=revision))
    # A network can fail in any way.
    except Exception as error:
        raise FileNotFoundError(
            f"{name} is neither a file or folder nor to be had from the Hugging Face Hub ({type(error).__name__}): "
            "correct the name, or look at the network."
        ) from error
