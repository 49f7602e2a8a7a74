import hashlib
import json
import zipfile

import pytest
import torch

from miassr_monai import Predictor
from miassr_monai.prediction import pretrained
from miassr_monai.prediction.pretrained import load_pretrained


@pytest.fixture
def bundle(tmp_path, make_network):
    """Bundle folder with weights and metadata."""
    folder = tmp_path / "brains"
    for name in ("models", "configs"):
        (folder / name).mkdir(parents=True)
    torch.save(make_network().state_dict(), folder / "models/model.pt")
    (folder / "configs/metadata.json").write_text(json.dumps({"name": "brains", "trained_for": {"scales": [1, 3]}}))
    return folder


@pytest.fixture
def hash_of_weights(bundle):
    return hashlib.sha256((bundle / "models/model.pt").read_bytes()).hexdigest()


def pack(folder, path, prefix):
    """The zip of a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize("prefix", ["", "brains/"])
def test_a_folder_weights_and_a_zip_give_the_same_predictor(bundle, hash_of_weights, prefix, tmp_path, make_network):
    archive = pack(bundle, tmp_path / "brains.zip", prefix)
    image, truth = torch.rand(1, 9, 8, 2), make_network().state_dict()
    for source in (bundle, str(bundle / "models/model.pt"), archive, str(archive)):
        predictor = Predictor.from_pretrained(source, device="cpu", sha256=hash_of_weights.upper(), consistency=None)
        torch.testing.assert_close(dict(predictor.model.network.state_dict()), dict(truth), rtol=0, atol=0)
        assert predictor.model.trained_for == {"scales": [1, 3]}
        predictor(image, scale=2)
        assert predictor.consistency is None and predictor.report["model"]["sha256"] == hash_of_weights
    assert predictor.model.path == archive


def test_other_weights_are_refused_before_they_are_read(bundle, hash_of_weights, tmp_path):
    archive = pack(bundle, tmp_path / "brains.zip", "brains/")
    for source in (bundle, archive):
        with pytest.raises(ValueError, match=f"the weights of {source} have the SHA-256 {hash_of_weights}, not 0123:"):
            load_pretrained(source, "cpu", sha256="0123")
    (bundle / "configs/metadata.json").write_text(json.dumps({"weights_sha256": hash_of_weights}))
    assert load_pretrained(bundle, "cpu").sha256 == hash_of_weights
    (bundle / "models/model.pt").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="have the SHA-256"):
        load_pretrained(bundle, "cpu")


def test_nothing_but_weights_and_metadata_leaves_a_zip_and_neither_goes_elsewhere(bundle, tmp_path, monkeypatch):
    archive, unpacked = tmp_path / "evil.zip", tmp_path / "a/b/unpacked"
    unpacked.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    weights = (bundle / "models/model.pt").read_bytes()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("brains/models/model.pt", weights)
        for name in ("../models/model.pt", "../../escaped", "/tmp/miassr_escaped", "a/../../models/model.pt"):
            packed.writestr(name, "evil")
        packed.writestr("brains/scripts/__init__.py", "raise SystemExit")
    seen = []
    load_model = pretrained.load_model

    def look(path, device):
        seen.extend(sorted(str(file.relative_to(tmp_path / "a")) for file in (tmp_path / "a").rglob("*")))
        return load_model(path, device)

    monkeypatch.setattr(pretrained, "load_model", look)
    # Two members are weights of a bundle, by their names: it cannot be told which are meant.
    with pytest.raises(ValueError, match="does not hold one bundle"):
        load_pretrained(archive, "cpu")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("brains/models/model.pt", weights)
        packed.writestr("../../escaped", "evil")
    load_pretrained(archive, "cpu")
    folder = seen[2]
    assert seen == ["b", "b/unpacked", folder, f"{folder}/models", f"{folder}/models/model.pt"]
    assert list(unpacked.iterdir()) == []


def test_what_is_no_bundle_is_refused_in_a_sentence(bundle, tmp_path, monkeypatch):
    archive = tmp_path / "other.zip"
    archive.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"other.zip is damaged or no zip \(.*\): get it again\."):
        load_pretrained(archive, "cpu")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("readme.txt", "")
    with pytest.raises(ValueError, match=r"does not hold one bundle with models/model\.pt: give the zip of a bundle\."):
        load_pretrained(archive, "cpu")
    monkeypatch.setattr(pretrained, "LARGEST_FILE", 100)
    with pytest.raises(ValueError, match=r"holds a models/model\.pt of more than 100 bytes: give another\."):
        load_pretrained(pack(bundle, archive, ""), "cpu")
    with pytest.raises(FileNotFoundError, match="there is no model at nowhere"):
        load_pretrained("nowhere", "cpu")


def test_a_name_on_the_hub_is_downloaded_and_only_two_files_of_it(bundle, monkeypatch):
    asked = []

    def hf_hub_download(name, file, revision=None):
        asked.append((name, file, revision))
        return str(bundle / file)

    monkeypatch.setattr(pretrained, "has_hub", True)
    monkeypatch.setattr(pretrained, "hf_hub_download", hf_hub_download)
    assert load_pretrained("owner/brains", "cpu", revision="v1").name == "brains"
    assert asked == [("owner/brains", file, "v1") for file in ("configs/metadata.json", "models/model.pt")]
    monkeypatch.setattr(pretrained, "hf_hub_download", lambda *args, **kwargs: 1 / 0)
    message = r"owner/brains is neither a file or folder nor to be had from the Hugging Face Hub \(ZeroDivisionError\)"
    with pytest.raises(FileNotFoundError, match=message):
        load_pretrained("owner/brains", "cpu")
    monkeypatch.setattr(pretrained, "has_hub", False)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        load_pretrained("owner/brains", "cpu")
