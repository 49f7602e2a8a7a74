"""The bundle in the form for MONAI's Model Zoo."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "zoo"))
from check_bundle import REQUIRED, requirements  # noqa: E402
from make_bundle import AS_IT_IS, NAME, PACKAGE, make, vendored  # noqa: E402

# What Python calls these packages, where it is not what pip does.
IMPORTED = {"PIL": "pillow", "itk": "itk-io", "ignite": "pytorch-ignite", "skimage": "scikit-image"}
# What is asked for where it is needed, and named then, as extras of the installation are.
OPTIONAL = {"SimpleITK", "frd_score", "huggingface_hub", "nilearn", "radiomics"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("dist"))


def test_the_zip_holds_the_folder_and_both_have_what_the_zoo_asks_for(bundle):
    with zipfile.ZipFile(f"{bundle}.zip") as packed:
        names = {name for name in packed.namelist() if not name.endswith("/")}
    assert names == {f"{NAME}/{path.relative_to(bundle)}" for path in bundle.rglob("*") if path.is_file()}
    wanted = (
        "LICENSE configs/metadata.json configs/inference.json configs/train.json docs/README.md docs/data_license.txt"
    )
    assert {f"{NAME}/{name}" for name in (*wanted.split(), "models/model.pt", "scripts/__init__.py")} <= names
    assert not any("__pycache__" in name for name in names)
    readme = (bundle / "docs/README.md").read_text()
    sections = ["Model Overview", "Data", "Training configuration", "Performance", "MONAI Bundle Commands"]
    assert re.findall(r"^# (.+)$", readme, re.MULTILINE) == [*sections, "References", "License"]
    assert "TensorRT" in readme
    assert set(REQUIRED) <= set(json.loads((bundle / "configs/metadata.json").read_text()))


def test_names_of_the_package_are_looked_up_in_scripts():
    config = {
        "imports": ["$import time", "$from miassr_monai.data import load", "$from miassr_monai.workflow import check"],
        "bundle_root": "$bundle_root()",
        "load": 1,
        "steps": ["$check()", "$load(@load, 'load') + a.load(loader)", "load()"],
        "network": {"_target_": "miassr_monai.networks.EDSR", "width": "@load"},
        "monai": {"_target_": "Compose"},
    }
    made = vendored(config)
    assert made["steps"] == [
        "$@scripts('miassr_monai.workflow', 'check')()",
        "$@scripts('miassr_monai.data', 'load')(@load, 'load') + a.load(loader)",
        "load()",
    ]
    assert made["network"] == {"_target_": "$@scripts('miassr_monai.networks', 'EDSR')", "width": "@load"}
    assert made["monai"] == config["monai"] and made["load"] == 1
    assert "$import time" in made["imports"] and not any(PACKAGE in statement for statement in made["imports"])


def test_no_configuration_needs_an_installed_package(bundle):
    for path in (path for path in (bundle / "configs").glob("*.json") if path.name not in {"metadata.json", *AS_IT_IS}):
        text = path.read_text()
        assert text.count(PACKAGE) == text.count(f"@scripts('{PACKAGE}."), path.name


def test_monai_can_look_through_the_handlers_of_the_training(bundle):
    """`ConfigWorkflow.check_properties` looks for one by its `_target_`; a reference there is beyond it."""
    config = json.loads((bundle / "configs/train.json").read_text())
    assert all("_target_" in handler for handler in config["train"]["handlers"])


def test_the_links_of_the_documentation_lead_to_files_of_the_bundle(bundle):
    pages = list((bundle / "docs").rglob("*.md"))
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text())]
    assert len(links) > 20
    assert [(page, link) for page, link in links if "://" not in link and not (page.parent / link).is_file()] == []


def imports(folder):
    """The top-level modules that a folder's code imports, wherever in a file."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.split(".")[0]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "optional_import":
                yield node.args[0].value.split(".")[0]


def test_all_packages_that_the_code_imports_are_declared_as_in_the_installation(bundle):
    declared = {re.split("[<>=]", line)[0] for line in requirements(bundle)}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    installed = {re.split("[<>=]", line)[0] for line in lines if line and not line.startswith("#")}
    assert declared == installed
    used = set(imports(bundle / "scripts" / PACKAGE)) - sys.stdlib_module_names - OPTIONAL - {PACKAGE}
    assert {IMPORTED.get(name, name) for name in used} <= declared
    # A version that exists for one Python only would shut the others out.
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert metadata["numpy_version"] < "2.3", "NumPy 2.3 and later do not exist for Python 3.10"


def test_monai_loads_the_shipped_network_with_the_bundle_s_own_code_from_any_folder(bundle, tmp_path):
    """The same package is installed here, too, but is not what is used."""
    code = f"from check_bundle import check_networks; from pathlib import Path; check_networks(Path({str(bundle)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "zoo"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []
