"""Make the bundle as MONAI's Model Zoo wants it: a folder and a zip that need no installation of this package.

The code of the package goes along under ``scripts``, and the configurations find it there, wherever they are called
from. ``python zoo/make_bundle.py dist`` writes ``dist/<name>`` and ``dist/<name>.zip``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

__all__ = ["NAME", "make"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "miassr_monai"
NAME = "brain_mri_arbitrary_scale_super_resolution"
# The Zoo takes no larger files.
LARGEST_FILE = 25 * 2**20
# Needs nilearn for its sample data, which the Zoo's users do not have.
LEFT_OUT = {"quickstart.json"}
# Comes over configurations of other bundles, which do not know where this one's code is.
AS_IT_IS = {"in_front_of.json"}

# MONAI puts a bundle's folder on Python's path only when a workflow runs, which is after its configuration has been
# evaluated. So the configuration finds its own folder, among its callers, and puts the code there on the path itself.
FIND_ROOT = (
    "$str(next((caller.frame.f_locals['self'].config_root_path.parent for caller in inspect.stack(0) "
    "if isinstance(caller.frame.f_locals.get('self'), monai.bundle.ConfigWorkflow)), '.'))"
)
# Not pydoc.locate alone, which since Python 3.13 finds a module rather than a function of the same name.
FIND_CODE = (
    "$(sys.path.insert(0, os.path.abspath(@bundle_root + '/scripts')), "
    "lambda module, name: getattr(pydoc.locate(module), name))[1]"
)
NEEDED_FOR_THESE = [f"$import {module}" for module in ("inspect", "os", "pydoc", "sys")]

IMPORT = re.compile(rf"\$from ({PACKAGE}[\w.]*) import (\w+)")
LINK = re.compile(r"(!?)\[([^]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def vendored(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that takes what it uses of the package from ``scripts``."""
    key = "imports" if "imports" in config else "+imports"
    found = [IMPORT.fullmatch(statement) for statement in config.get(key, [])]
    names = {match[2]: f"@scripts('{match[1]}', '{match[2]}')" for match in found if match}
    names.pop("bundle_root", None)
    used = re.compile(rf"(?<![\w.@#:'\"])({'|'.join(names)})(?!\w)") if names else None

    def rewrite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rewrite(item) for name, item in value.items()}
        if isinstance(value, list):
            return [rewrite(item) for item in value]
        if not isinstance(value, str):
            return value
        if value.startswith(f"{PACKAGE}."):
            module, _, name = value.rpartition(".")
            return f"$@scripts('{module}', '{name}')"
        return used.sub(lambda match: names[match[1]], value) if used and value.startswith("$") else value

    kept = [statement for statement in config.get(key, []) if not IMPORT.fullmatch(statement)]
    rest = {name: rewrite(value) for name, value in config.items() if name != key}
    if "bundle_root" in rest:
        return {
            "imports": [*NEEDED_FOR_THESE, *kept],
            "bundle_root": FIND_ROOT,
            "scripts": FIND_CODE,
            **{name: value for name, value in rest.items() if name != "bundle_root"},
        }
    return {**({key: kept} if kept else {}), **rest}


def write_configs(folder: Path) -> None:
    """Write the configurations."""
    folder.mkdir(parents=True)
    source = ROOT / "bundle/configs"
    shutil.copy(source / "logging.conf", folder)
    for path in sorted(source.glob("*.json")):
        if path.name in LEFT_OUT:
            continue
        config = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "metadata.json":
            config["required_packages_version"].pop("miassr-monai")
            weights = (ROOT / "bundle/models/model.pt").read_bytes()
            config["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        elif path.name not in AS_IT_IS:
            if path.name == "train.json":
                # `monai.bundle.load` takes the network from here, which has to be that of the weights.
                config |= json.loads((source / "release.json").read_text(encoding="utf-8"))
            config = vendored(config)
        (folder / path.name).write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")


def write_docs(folder: Path) -> None:
    """Write the documentation of the bundle and of the package, whose links lead to one another or nowhere."""
    places = {
        path.resolve(): path.relative_to(source)
        for source in (ROOT / "docs", ROOT / "bundle/docs")
        for path in sorted(source.rglob("*"))
        if path.is_file()
    }
    for path, place in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copy(path, target)
            continue

        def link(match: re.Match, path: Path = path, place: Path = place) -> str:
            mark, text, address, anchor = match.groups()
            if "://" in address:
                return match[0]
            linked = places.get((path.parent / address).resolve())
            if linked is None:
                return text
            return f"{mark}[{text}]({os.path.relpath(linked, place.parent)}{anchor or ''})"

        target.write_text(LINK.sub(link, path.read_text(encoding="utf-8")), encoding="utf-8")


def make(target: Path) -> Path:
    """Make the folder and the zip below a folder; those that are there are replaced.

    Returns:
        The bundle's folder; the zip beside it has its name.

    Raises:
        ValueError: when a file is larger than the Zoo takes.
    """
    folder = target / NAME
    shutil.rmtree(folder, ignore_errors=True)
    bundle = ROOT / "bundle"
    write_configs(folder / "configs")
    write_docs(folder / "docs")
    (folder / "models").mkdir()
    for path in sorted((bundle / "models").glob("*.pt")):
        shutil.copy(path, folder / "models")
    shutil.copy(bundle / "LICENSE", folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / PACKAGE, folder / "scripts" / PACKAGE, ignore=ignored)
    shutil.copy(ROOT / "LICENSE", folder / "scripts")
    (folder / "scripts/__init__.py").write_text('"""The code of the bundle."""\n', encoding="utf-8")
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, but the Zoo takes {LARGEST_FILE}: leave it out.")
    shutil.make_archive(str(folder), "zip", target, NAME)
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="folder in which the bundle's folder and zip are made")
    made = make(parser.parse_args().target)
    print(f"{made}\n{made}.zip")


if __name__ == "__main__":
    main()
