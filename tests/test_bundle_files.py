import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from miassr_monai import bundle
from miassr_monai.bundle import built_in_models, default_bundle, file_hash, find_model


@pytest.fixture
def folder(tmp_path):
    """A bundle's folder."""
    for name in ("models", "configs", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "models/model.pt").write_bytes(b"weights")
    (tmp_path / "configs/metadata.json").write_text('{"name": "Größe"}', encoding="utf-8")
    return tmp_path


def test_the_hash_is_that_of_the_file(folder):
    assert file_hash(folder / "models/model.pt") == hashlib.sha256(b"weights").hexdigest()


def test_a_folder_and_the_weights_in_it_have_its_metadata(folder):
    weights = folder / "models/model.pt"
    assert find_model(folder) == find_model(str(folder)) == find_model(weights) == (weights, {"name": "Größe"})


def test_built_in_weights_have_names(folder, monkeypatch):
    monkeypatch.setattr(bundle, "default_bundle", lambda: folder)
    assert built_in_models() == {}
    small = folder / "models/model_small.pt"
    for path in (small, folder / "models/other.pt", folder / "model_elsewhere.pt"):
        path.write_bytes(b"")
    assert built_in_models() == {"small": small}
    assert find_model("small") == (small, {"name": "Größe"})
    monkeypatch.chdir(folder)
    (folder / "small").write_bytes(b"")
    assert find_model("small")[0] == small
    assert find_model("./small") == find_model(Path("small")) == (Path("small"), {})


def test_weights_elsewhere_have_none(folder):
    for path in (folder / "model.pt", folder / "output/model.pt"):
        path.write_bytes(b"")
        assert find_model(path) == (path, {})


def test_a_link_to_the_weights_has_their_metadata(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "mine.pt"
    link.symlink_to(folder / "models/model.pt")
    assert find_model(link) == (link, {"name": "Größe"})


def test_metadata_that_are_damaged_are_named(folder):
    (folder / "configs/metadata.json").write_text("{")
    with pytest.raises(ValueError, match=r"configs/metadata.json is not valid JSON \(.*\): restore it"):
        find_model(folder)


def test_what_is_missing_is_named(folder, monkeypatch):
    (folder / "models/model.pt").unlink()
    for source in (folder, folder / "models/model.pt"):
        with pytest.raises(FileNotFoundError, match=f"there is no model at {folder}/models/model.pt: give a bundle"):
            find_model(source)
    message = "there is no model at nowhere: give a bundle folder with models/model.pt, a weights file, or 'small'."
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        find_model("nowhere")


def test_the_default_is_the_checkouts_bundle_or_else_the_installed_one(folder, monkeypatch, tmp_path_factory):
    metadata = json.loads((default_bundle() / "configs/metadata.json").read_text())
    assert metadata["name"].startswith("MIASSR")
    prefix = tmp_path_factory.mktemp("prefix")
    installed = prefix / "share/miassr_monai/bundle"
    monkeypatch.setattr(bundle, "__file__", str(prefix / "lib/miassr_monai/bundle.py"))
    monkeypatch.setattr(bundle.sysconfig, "get_path", lambda name: {"data": str(prefix)}[name])
    with pytest.raises(FileNotFoundError, match="the bundle was not installed with miassr_monai: give the path"):
        default_bundle()
    assert built_in_models() == {}
    installed.parent.mkdir(parents=True)
    folder.rename(installed)
    assert default_bundle() == installed
    assert find_model() == (installed / "models/model.pt", {"name": "Größe"})


def test_nothing_heavy_is_imported():
    code = "import sys, miassr_monai.bundle; print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
