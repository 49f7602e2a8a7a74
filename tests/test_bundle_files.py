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


def test_what_differs_for_some_of_the_weights_is_theirs_alone(folder):
    trained, differing = {"scales": [1, 4], "degradations": ["psf"]}, {"degradations": ["paper"], "noise": [0, 0]}
    written = {"trained_for": trained, "weights": {"model_paper.pt": differing}}
    (folder / "configs/metadata.json").write_text(json.dumps(written))
    (folder / "models/model_paper.pt").write_bytes(b"")
    assert find_model(folder)[1]["trained_for"] == trained
    expected = {"scales": [1, 4], "degradations": ["paper"], "noise": [0, 0]}
    assert find_model(folder / "models/model_paper.pt")[1]["trained_for"] == expected
    written["weights"]["model_paper.pt"] = {"noise": "much"}
    (folder / "configs/metadata.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match="'noise', which must be two numbers"):
        find_model(folder / "models/model_paper.pt")


def test_metadata_that_are_damaged_are_named(folder):
    (folder / "configs/metadata.json").write_text("{")
    with pytest.raises(ValueError, match=r"configs/metadata.json is not valid JSON \(.*\): restore it"):
        find_model(folder)


def test_what_is_missing_is_named(folder, monkeypatch):
    (folder / "models/model.pt").unlink()
    for source in (folder, folder / "models/model.pt"):
        with pytest.raises(FileNotFoundError, match=f"there is no model at {folder}/models/model.pt: give a bundle"):
            find_model(source)
    message = "there is no model at nowhere: give a bundle folder with models/model.pt, a weights file, or one of "
    message += f"{', '.join(built_in_models())}."
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        find_model("nowhere")


def test_the_default_is_the_checkouts_bundle_or_else_the_installed_one(folder, monkeypatch, tmp_path_factory):
    metadata = json.loads((default_bundle() / "configs/metadata.json").read_text())
    assert metadata["name"].startswith("MIASSR")
    # Wherever an installation is put, the bundle lies inside the package.
    package = tmp_path_factory.mktemp("anywhere") / "miassr_monai"
    installed = package / "built_in"
    monkeypatch.setattr(bundle, "__file__", str(package / "bundle.py"))
    with pytest.raises(FileNotFoundError, match="the bundle was not installed with miassr_monai: give the path"):
        default_bundle()
    assert built_in_models() == {}
    installed.parent.mkdir(parents=True)
    folder.rename(installed)
    assert default_bundle() == installed
    assert find_model() == (installed / "models/model.pt", {"name": "Größe"})


def test_the_default_is_the_bundle_that_the_package_lies_in(folder, monkeypatch):
    monkeypatch.setattr(bundle, "__file__", str(folder / "scripts/miassr_monai/bundle.py"))
    assert default_bundle() == folder


TRAINED = {"scales": [1, 4.0], "spacing_mm": [0.5, 0.5], "modalities": ["MR"], "license": "CC0", "consistency": "psf"}


def test_metadata_of_the_right_kinds_are_read(folder):
    metadata = {"name": "brains", "version": "1.0", "intended_use": "research", "trained_for": TRAINED, "task": [1]}
    for written in (metadata, {}, {"trained_for": {}}, {"network_data_format": None}):
        (folder / "configs/metadata.json").write_text(json.dumps(written))
        assert find_model(folder)[1] == written


@pytest.mark.parametrize(
    "metadata, message",
    [
        *((value, f"holds {json.dumps(value)} where names") for value in ([], "text", 3, None, True)),
        *(({name: 3}, f"has the value 3 for '{name}', which must be text") for name in ("name", "version")),
        *(({"trained_for": value}, "where names and values belong") for value in ([], "text", 3, None)),
        *(
            (
                {"trained_for": {name: value}},
                f"for '{name}', which must be two numbers, the lower one first: restore it",
            )
            for name in ("scales", "spacing_mm")
            for value in (None, 3, "14", [1], [1, 2, 3], ["1", "4"], [4, 1], [True, 4], {"1": 4}, [[1], [4]])
        ),
        *(
            ({"trained_for": {name: value}}, f"for '{name}', which must be a list of texts")
            for name in ("modalities", "degradations")
            for value in (None, "MR", [1], [None], {"MR": 1})
        ),
        *(
            ({"trained_for": {name: value}}, f"for '{name}', which must be text")
            for name in ("license", "consistency")
            for value in (None, 3, ["psf"])
        ),
    ],
)
def test_metadata_of_the_wrong_kinds_are_refused_in_a_sentence(folder, metadata, message):
    path = folder / "configs/metadata.json"
    path.write_text(json.dumps(metadata))
    with pytest.raises(ValueError) as caught:
        find_model(folder)
    assert str(caught.value).startswith(f"{path} h") and message in str(caught.value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" + 400 * "0"])
def test_a_range_that_is_not_finite_is_refused(folder, value):
    (folder / "configs/metadata.json").write_text(f'{{"trained_for": {{"scales": [1, {value}]}}}}')
    with pytest.raises(ValueError, match="which must be two numbers, the lower one first"):
        find_model(folder)


def test_json_that_is_nested_without_end_is_refused(folder):
    (folder / "configs/metadata.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not valid JSON"):
        find_model(folder)


def test_nothing_heavy_is_imported():
    code = "import sys, miassr_monai.bundle; print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
