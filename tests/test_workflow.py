import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow, create_workflow, load
from processes import MonaiBundle
from torch.utils.data import DataLoader

from miassr_monai.geometry import parse_scale
from miassr_monai.workflow import bundle_root, check_keys, check_workflow, save_running_config, tell

BUNDLE = Path(__file__).parent.parent / "bundle"
TRAIN = {
    "imports": [
        f"$from miassr_monai.workflow import {name}"
        for name in ("bundle_root", "check_workflow", "save_running_config")
    ],
    "output_dir": "nowhere",
    "root": "$bundle_root()",
    "network": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": "@width"},
    "stage": {"trainer": 1},
    "width": 64,
    "depth": 16,
    "initialize": ["$check_workflow()"],
    "run": ["$save_running_config(@output_dir + '/config.json')"],
}


@pytest.fixture
def files(tmp_path):
    """A configuration and an overlay in the folder of a bundle."""
    folder = tmp_path / "bundle" / "configs"
    folder.mkdir(parents=True)
    contents = {
        "train": TRAIN,
        "overlay": {"width": 32, "network#bias": False, "extra": 1},
        "metadata": {"version": "1"},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return [str(folder / f"{name}.json") for name in ("train", "overlay")]


def start(files, **options):
    return create_workflow(config_file=files, logging_file=False, workflow_type=None, **options)


def test_the_running_configuration_is_saved_with_overlays_and_overrides_merged(files, tmp_path):
    start(files, output_dir=str(tmp_path), depth=6).run()
    config = json.loads((tmp_path / "config.json").read_text())
    linear = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": "@width", "bias": False}
    expected = {"output_dir": str(tmp_path), "network": linear, "width": 32, "depth": 6}
    assert {key: config[key] for key in expected} == expected


def test_there_is_no_running_configuration_outside_of_a_workflow(tmp_path):
    with pytest.raises(RuntimeError, match=r"from within `python -m monai\.bundle run`"):
        save_running_config(tmp_path / "config.json")
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_is_where_its_configuration_is(files, tmp_path, monkeypatch):
    assert start(files).parser.get_parsed_content("width") == 32
    workflow = start(files)
    workflow.add_property("root", required="root", config_id="root")
    assert workflow.root == str(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path / "bundle")
    near = ConfigWorkflow("configs/train.json", logging_file=False, workflow_type="train")
    near.initialize()
    near.add_property("root", required="root", config_id="root")
    assert near.root == "."
    assert bundle_root() == "."


def root_cause(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("widht", "did you mean width?"),
        ("stage#trianer", "did you mean stage#trainer?"),
        ("stage::trianer", "did you mean stage#trainer?"),
        ("network#in_feature", "did you mean network#in_features?"),
        ("network#", "see the configuration files for those that there are."),
        ("a\nb", "see the configuration files for those that there are."),
        ("learning_rate", "see the configuration files for those that there are."),
    ],
)
def test_a_key_that_no_file_defines_is_refused(files, key, hint):
    with pytest.raises(RuntimeError) as caught:
        start(files, **{key: 1})
    assert root_cause(caught.value) == f"there is no key {key!r}: {hint}"


@pytest.mark.parametrize("key", ["", "#", "network##x", "width#x", "netwrk#x"])
def test_keys_that_monai_itself_cannot_place_are_refused_too(files, key):
    with pytest.raises(ValueError, match=f"^there is no key '{key}': "):
        check_keys([key], files)


def test_keys_of_the_files_and_arguments_of_components_are_accepted(files, tmp_path):
    given = {
        "width": 8,
        "extra": 2,
        "stage#trainer": 3,
        "stage": {"trainer": 4, "other": 5},
        "network#dtype": "$torch.float64",
    }
    network = start(files, **given, run_id="run", init_id="initialize", final_id="finalize").parser.get_parsed_content(
        "network"
    )
    assert (network.out_features, network.weight.dtype, network.bias) == (8, torch.float64, None)


def test_keys_that_an_arguments_file_gives_are_checked_too(files, tmp_path):
    (tmp_path / "args.json").write_text(json.dumps({"config_file": files, "logging_file": False, "wdith": 3}))
    with pytest.raises(RuntimeError) as caught:
        create_workflow(args_file=str(tmp_path / "args.json"), workflow_type=None)
    assert root_cause(caught.value) == "there is no key 'wdith': did you mean width?"


def test_values_are_checked(files):
    with pytest.raises(RuntimeError) as caught:
        start(files, depth=0)
    assert root_cause(caught.value) == "depth is 0: a whole number from 1 is accepted."


def test_a_workflow_that_python_makes_is_checked_without_a_command_line(files):
    hook = sys.excepthook
    ConfigWorkflow(files, logging_file=False, workflow_type=None, unknown=1).initialize()
    check_workflow()
    assert sys.excepthook is hook


FAIL = {
    "ours": "$__import__('miassr_monai.geometry').geometry.parse_scale('two')",
    "transform": {
        "_target_": "monai.transforms.Compose",
        "transforms": ["$__import__('miassr_monai.data').data.load_volume"],
    },
    "option": "$__import__('monai.utils').utils.look_up_option('nix', ('bicubic',))",
    "bug": "$[][0]",
    "interrupt": "$signal.raise_signal(signal.SIGINT)",
    "exit": "$sys.exit(143)",
}
MISSING = "error: there is no file or folder nowhere.nii: check the path."
OURS = "'two' is not a scale: give a number, such as 2.5, or one for each axis, such as 1x2."


def run_forked(arguments):
    process = MonaiBundle(arguments, ".")
    process.start()
    return process.done()


def run_anew(arguments):
    return subprocess.run([sys.executable, "-m", "monai.bundle", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("monai_bundle", "run", "code", "last", "traceback"),
    [
        (run_forked, "$@ours", 1, f"error: {OURS}", False),
        (run_forked, "$@transform('nowhere.nii')", 1, MISSING, False),
        (run_forked, "$@option", 1, "error: Unsupported option 'nix', Available options are {'bicubic'}.", False),
        (run_forked, "$@bug", 1, "error: list index out of range", True),
        (run_anew, "$@interrupt", -2, "error: interrupted.", False),
        (run_forked, "$@exit", 143, None, False),
    ],
)
def test_on_the_command_line_the_last_line_says_what_is_wrong(files, monai_bundle, run, code, last, traceback):
    imports = [*TRAIN["imports"], "$import signal", "$import sys"]
    Path(files[0]).write_text(json.dumps({**TRAIN, **FAIL, "imports": imports, "run": [run]}))
    done = monai_bundle(["run", "--config_file", files[0]])
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == traceback
    assert last is None or done.stderr.splitlines()[-1] == last


def test_what_data_loading_workers_raise_is_told_in_its_last_line(capsys):
    """PyTorch makes one message of all that a worker's traceback says."""
    try:
        next(
            iter(DataLoader([2.0, "two"], batch_size=1, num_workers=1, collate_fn=lambda batch: parse_scale(batch[0])))
        )
    except Exception as error:
        tell(type(error), error, error.__traceback__)
    assert capsys.readouterr().err.splitlines()[-1] == "error: AttributeError: 'float' object has no attribute 'split'"


def test_monai_s_own_tools_work_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = load("bundle", bundle_dir=str(BUNDLE.parent), workflow_type="inference", source="github", device="cpu")
    trained = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(dict(network.state_dict()), dict(trained), rtol=0, atol=0)
    # The workflow of a training needs no data for its network either, which is that of the weights.
    network = load("bundle", bundle_dir=str(BUNDLE.parent), source="github", device="cpu")
    torch.testing.assert_close(dict(network.state_dict()), dict(trained), rtol=0, atol=0)
    assert list(tmp_path.iterdir()) == []
