"""The package is built as the README says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "miassr_monai"


def rooms():
    """Folders and modules of the package by their row in the README's table, the first one first."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith(f"| `{PACKAGE}/")]
    names = [re.findall(r"`([^`]+)`", row) for row in rows]
    return {
        name.removeprefix(f"{PACKAGE}/").removesuffix(".py").rstrip("/"): number
        for number, row in enumerate(names)
        for name in row
    }


def imported(path):
    """Rooms of the package that a file imports from, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            yield node.module.split(".")[1]


def test_every_room_is_in_the_table_and_imports_from_those_above_it_only():
    order = rooms()
    files = [path for path in (ROOT / PACKAGE).rglob("*.py") if path.parent.name != PACKAGE or path.stem != "__init__"]
    places = {path: path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py") for path in files}
    # Modules beside the folders are at the top, whether they are worth a row or not.
    order = {path.stem: 0 for path in files if path.parent.name == PACKAGE} | order
    assert set(places.values()) == set(order)
    uphill = [(str(path), room) for path in files for room in imported(path) if order[room] > order[places[path]]]
    assert uphill == []
