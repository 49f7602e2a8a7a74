import json
import re

import pytest
import torch

from miassr_monai.bundle import default_bundle
from miassr_monai.comparison import Plan, built_in_plans, check_plan, read_plan
from miassr_monai.comparison.plan import config_files, merged

CONFIGS = default_bundle() / "configs"
SRRESNET = {"_target_": "miassr_monai.networks.SRResNet"}
SUB_PIXEL = {"_target_": "miassr_monai.networks.SubPixelGenerator", "trunk": "@trunk"}


def plan(training=None, evaluation=None, **networks):
    return Plan(training or {}, networks or {"a": {}}, evaluation or {})


def test_the_plans_of_the_bundle_are_sound_and_their_networks_have_the_sizes_of_the_docs():
    plans = {name: check_plan(read_plan(name)) for name in built_in_plans()}
    assert plans["trunks"] == {
        "EDSR": 1_368_320,
        "SRResNet": 1_372_417,
        "MDSR": 6_095_104,
        "SRDenseNet": 6_603_424,
        "RDN": 5_614_976,
        "RRDB": 9_950_400,
        "SPAN": 1_923_474,
        # The trunk, and the tails for 2, 3 and 4.
        "EDSR, sub-pixel": 1_219_264 + 148_289 + 332_929 + 296_001,
    }
    assert plans["size"]["depth 16, width 64"] == 1_368_320
    assert set(plans["gan"].values()) == {1_368_320}


def test_a_network_has_the_shared_settings_under_its_own():
    training = {"overlays": ["release"], "depth": 2, "seed": 7}
    found = plan(training, a={"overlays": ["vanilla"], "depth": 3, "width": 8}, b={})
    files, settings = found.overlays("a")
    assert files == [str(CONFIGS / f"{name}.json") for name in ("train", "release", "vanilla")]
    assert settings == {"depth": 3, "seed": 7, "width": 8}
    assert found.overlays("b") == (files[:2], {"depth": 2, "seed": 7})


def test_an_overlay_may_be_a_file(tmp_path):
    own = tmp_path / "mine.json"
    own.write_text("{}")
    found = plan(evaluation={"overlays": ["paper_protocol", str(own)], "slice_step": 2})
    names = ("evaluate", "paper_protocol")
    assert found.evaluation_overlays() == ([*(str(CONFIGS / f"{n}.json") for n in names), str(own)], {"slice_step": 2})
    with pytest.raises(FileNotFoundError, match=r"there is no overlay .*configs/none.json: give the name of one in"):
        config_files("train", ["none"])


def test_a_setting_goes_where_its_key_is():
    found = plan({"depth": 2}).with_settings({"depth": 3, "slice_step": 5, "amp": True})
    assert found.training == {"depth": 3, "amp": True}
    assert found.evaluation == {"slice_step": 5, "amp": True}
    with pytest.raises(ValueError, match="there is no key 'dept': did you mean depth"):
        found.with_settings({"dept": 3})


def test_some_networks_are_chosen_by_their_names():
    assert list(plan(a={}, b={}, c={}).only(["c", "a"]).networks) == ["c", "a"]
    with pytest.raises(ValueError, match="the plan has no network 'd': take some of a, b"):
        plan(a={}, b={}).only(["a", "d"])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plan(a={"dept": 3}), "the network 'a' of the plan: there is no key 'dept': did you mean depth?"),
        (plan({"depth": 0}), "the network 'a' of the plan: depth is 0: a whole number from 1 is accepted."),
        (plan(a={"trunk": {**SRRESNET, "size": 3}}), "the network 'a' of the plan: it cannot be made: "),
        (
            plan({"scale_high": 3.0, "network_def": {**SUB_PIXEL, "scales": [2, 3]}}),
            "the network 'a' of the plan: the method 'a' can do scales up to 3 only, not 3.5:",
        ),
        (
            plan({"network_def": {**SUB_PIXEL, "scales": [2]}}, {"scales": [1.5, 2.0]}),
            "the network 'a' of the plan: the method 'a' can do scales up to 2 only, not 4:",
        ),
        (plan(evaluation={"scales": [2.0, [1, 2]]}), "the network 'a' of the plan: the method 'a' cannot do a scale"),
        (plan(evaluation={"slice_steps": 3}), "there is no key 'slice_steps': did you mean slice_step?"),
        (plan(evaluation={"scales": []}), "scales is []: a list of one or more scales"),
        (plan(truth={}), "a network cannot be called 'truth'"),
        (plan(bicubic={}), "a network cannot be called 'bicubic'"),
        (plan(**{"a/b": {}}), "a network cannot be called 'a/b'"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(made, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check_plan(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no plan, which has the keys networks, training and evaluation"),
        ('{"training": {}}', "is no plan"),
        ('{"networks": {"a": {}}, "train": {}}', "is no plan"),
        ('{"networks": {}}', "needs at least one network"),
        ('{"networks": {"a": 3}}', "needs at least one network, and names with values for each"),
        ('{"networks": ["a"]}', "needs at least one network"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path, text, message):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_plan(path)


def test_a_plan_is_read_from_a_file(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"networks": {"a": {"depth": 2}}, "evaluation": {"slice_step": 2}}))
    assert read_plan(path) == read_plan(str(path)) == Plan({}, {"a": {"depth": 2}}, {"slice_step": 2})
    with pytest.raises(FileNotFoundError, match="there is no plan none: give a file, or one of gan, size, trunks"):
        read_plan("none")


@torch.no_grad()
@pytest.mark.parametrize("name", ["EDSR", "RRDB", "SPAN"])
def test_networks_of_the_plan_trunks_begin_in_the_image_s_range(name):
    torch.manual_seed(0)
    network = merged(*read_plan("trunks").overlays(name)).get_parsed_content("network_def")
    # Unscaled, RRDB's and SPAN's would be tens of times as large.
    assert network(torch.rand(1, 1, 16, 16)).abs().mean() < 2
