import json
import os

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from make import small_generator
from monai.data import DataLoader, Dataset
from scipy.ndimage import gaussian_filter

from miassr_monai.data import LoadVolumed, load_volume
from miassr_monai.degradations import named_degradations, paper_degradation, parse_degradation, psf_degradation
from miassr_monai.engines import DegradeBatch, VolumeEvaluator
from miassr_monai.evaluation import Evaluation, FeatureDistance
from miassr_monai.geometry import format_scale
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.metrics import SLICE_MEASURES, foreground_mask, slice_consistency, slice_scores
from miassr_monai.networks import Bicubic
from miassr_monai.prediction import load_models

pytestmark = pytest.mark.usefixtures("quick_intervals")
SLICES = {"sub-1/t1.nii.gz": 5, "sub-1/t2.nii.gz": 2, "plain/x.nii.gz": 1}
REPORTS = {"report.csv", "report.json", "report.html", "report.txt"}


class Brighter(Bicubic):
    def __init__(self, by=0.05, spatial_dims=2):
        super().__init__(spatial_dims)
        self.by = torch.nn.Parameter(torch.tensor(by), requires_grad=False)

    def forward(self, x, scale):
        return super().forward(x, scale) + self.by


def write_volume(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([1, 1, 3, 1])), path)
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Folder of small volumes of smooth noise in [0, 1]."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for name, slices in SLICES.items():
        data = gaussian_filter(generator.random((20, 18, slices)), (1.2, 1.2, 0))
        write_volume(folder / name, (data - data.min()) / np.ptp(data))
    return folder


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr("miassr_monai.evaluation.page.draw_curves", lambda *_: "<svg></svg>")


@pytest.fixture
def case(volumes, tmp_path):
    """Arguments of a comparison of two methods at two scales under two degradations."""
    return {
        "output_dir": tmp_path / "out",
        "datalist": [{"image": str(volumes / name)} for name in SLICES],
        "models": load_models({"bicubic": "bicubic", "mine": Brighter()}, "cpu"),
        "scales": [2.0, 2.5],
        "degradations": ["paper", "psf"],
    }


def run(evaluation, stop=None):
    """Evaluate as the bundle does, up to an iteration at which all ends; returns what was worked on, and the engine."""
    done = []

    def note(engine):
        done.append(tuple(engine.state.batch[key] for key in ("index", "degradation", "scale")))
        if len(done) == stop:
            raise RuntimeError("killed")

    data = Dataset(evaluation.items, LoadVolumed("image", fill_missing=True))
    evaluator = VolumeEvaluator(
        device="cpu",
        val_data_loader=DataLoader(evaluation.remaining(data), batch_size=1, collate_fn=evaluation.collate),
        networks=[model.network for model in evaluation.models.values()],
        pred_keys=list(evaluation.models),
        prepare_batch=DegradeBatch(evaluation.degradations),
        inferer=SuperResolutionInferer(),
        val_handlers=[evaluation],
        decollate=False,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, note)
    if stop is None:
        evaluator.run()
    else:
        with pytest.raises(RuntimeError, match="killed"):
            evaluator.run()
    return done, evaluator


def load(item):
    """Slices ``(N, 1, H, W)`` of a volume."""
    return torch.from_numpy(nib.load(item["image"]).get_fdata(dtype=np.float32)).permute(2, 0, 1)[:, None]


def test_the_channels_of_an_image_are_scored_as_volumes_of_their_own(case, volumes, tmp_path):
    other = np.random.default_rng(1).random((20, 18, 2))
    files = [str(volumes / "sub-1/t2.nii.gz"), str(write_volume(tmp_path / "sub-1/flair.nii.gz", other))]
    case["distances"] = (
        {"means": FeatureDistance(lambda i: i.mean((2, 3)), lambda a, b: float(abs(a.sum() - b.sum())))},
        {},
    )
    apart = [
        {"image": file, "contrast": name, "subject": "1"} for file, name in zip(files, ("T2", "FLAIR"), strict=True)
    ]
    together = {"image": [files[0], None, files[1]], "contrast": ["T2", "T1", "FLAIR"], "subject": "1"}
    reports = []
    for number, items in enumerate((apart, [together])):
        evaluation = Evaluation(**{**case, "output_dir": tmp_path / str(number), "datalist": items})
        run(evaluation)
        reports.append(evaluation.report)
        scores = pd.read_csv(tmp_path / str(number) / "report.csv")
        scores = scores.sort_values(["degradation", "scale", "volume", "method", "slice"])
        reports[-1]["scores"] = scores.to_csv(index=False)
    # As text, which is equal where there is no number, too.
    for part in ("scores", "summary", "contrasts", "distances"):
        assert str(reports[0][part]) == str(reports[1][part])
    assert {row["contrast"] for row in reports[1]["contrasts"]} == {"FLAIR", "T2"}


def test_the_scores_are_those_of_a_direct_call(case, monkeypatch):
    # Chunks of two slices, the last of them cut short.
    monkeypatch.setattr("miassr_monai.evaluation.scoring.CHUNK", 2)
    case["scales"] = [2.0, [1, 2.5]]
    run(Evaluation(**case))
    scores = pd.read_csv(case["output_dir"] / "report.csv")
    assert len(scores) == sum(SLICES.values()) * 2 * 2 * 2
    found = scores.set_index(["volume", "degradation", "scale", "method", "slice"]).sort_index()
    for (name, slices), item in zip(SLICES.items(), case["datalist"], strict=True):
        for degradation, degrade in named_degradations(case["degradations"]).items():
            for scale, size in ((2.0, (20, 18)), ((1.0, 2.5), (20, 17))):
                small = degrade(load(item), scale)
                truth = load(item)[..., : size[0], : size[1]]
                for method, model in case["models"].items():
                    fine = model.network(small, scale)
                    expected = slice_scores(fine, truth, foreground_mask(truth), scale)
                    expected["consistency"] = slice_consistency(fine, small, scale, degrade)
                    rows = found.loc[name, degradation, format_scale(scale), method].loc[list(range(slices))]
                    for measure, values in expected.items():
                        np.testing.assert_allclose(rows[measure], values, rtol=1e-5, err_msg=f"{measure} {name}")


def test_noise_is_the_same_for_all_and_no_part_of_the_consistency(case):
    case["degradations"], case["scales"] = ["psf:fwhm=0.8,noise=0.05"], [2.0]
    run(Evaluation(**case))
    scores = pd.read_csv(case["output_dir"] / "report.csv")
    assert set(scores["degradation"]) == {"psf:fwhm=0.8,noise=0.05"}
    item, rows = case["datalist"][0], scores[(scores["volume"] == "sub-1/t1.nii.gz") & (scores["method"] == "mine")]
    small = parse_degradation("psf:fwhm=0.8,noise=0.05,seed=0")(load(item), 2.0)
    fine = case["models"]["mine"].network(small, 2.0)
    error = (fine - load(item)).square().mean((1, 2, 3))
    np.testing.assert_allclose(rows["psnr"], -10 * error.log10(), rtol=1e-5)
    again = psf_degradation(fine, 2.0, fwhm=0.8)
    np.testing.assert_allclose(rows["consistency"], (small - again).square().mean((1, 2, 3)).sqrt(), rtol=1e-4)


def test_an_item_is_of_its_subject_or_of_the_one_in_its_path_or_on_its_own(case):
    items = case["datalist"]
    case["datalist"] = [items[0] | {"subject": 7, "contrast": "t1"}, *items[1:]]
    evaluation = Evaluation(**case)
    run(evaluation)
    rows = pd.read_csv(case["output_dir"] / "report.csv").drop_duplicates("volume")
    assert rows["subject"].tolist() == ["7", "sub-1", "plain/x.nii.gz"]
    assert rows["volume"].tolist() == list(SLICES)
    assert rows["contrast"].fillna("none").tolist() == ["t1", "none", "none"]


def test_a_single_volume_has_its_files_name(case, volumes):
    case["datalist"] = case["datalist"][2:]
    assert Evaluation(**case).protocol["subjects"] == ["x.nii.gz"]


def test_means_are_the_metrics_of_the_engine(case):
    _, evaluator = run(Evaluation(**case))
    scores = pd.read_csv(case["output_dir"] / "report.csv")
    scores = scores[(scores["degradation"] == "paper") & (scores["method"] == "mine")]
    # Two volumes are of sub-1, and the third is a subject.
    volumes = scores.groupby(["scale", "volume"])["psnr"].mean().unstack()
    expected = (volumes[["sub-1/t1.nii.gz", "sub-1/t2.nii.gz"]].mean(axis=1) + volumes["plain/x.nii.gz"]) / 2
    metrics = evaluator.state.metrics
    found = [metrics["mine_psnr_x2"], metrics["mine_psnr_x2.5"], metrics["mine_psnr_mean"]]
    assert found == pytest.approx([*expected, expected.mean()])
    assert len(metrics) == 2 * 3 * len(SLICE_MEASURES)


def all_places(case):
    return [(i, d, s) for i in range(len(SLICES)) for d in case["degradations"] for s in case["scales"]]


def contents(folder):
    """What was written, but for the time."""
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name in REPORTS}
    report = json.loads(files.pop("report.json"))
    files["report.html"] = files["report.html"].replace(report.pop("created"), "")
    return files, report


def test_only_what_is_missing_is_done_again_and_the_report_is_the_same(case, tmp_path):
    done, _ = run(Evaluation(**case))
    assert done == all_places(case)
    whole = contents(case["output_dir"])
    case["output_dir"] = tmp_path / "killed"
    killed, _ = run(Evaluation(**case), stop=5)
    assert killed == all_places(case)[:5] and not REPORTS & set(os.listdir(tmp_path / "killed"))
    done, _ = run(Evaluation(**case))
    assert done == all_places(case)[5:]
    assert contents(tmp_path / "killed") == whole


def test_an_evaluation_that_lacks_but_the_report_does_the_last_part_again(case):
    run(Evaluation(**case), stop=12)
    assert not REPORTS & set(os.listdir(case["output_dir"]))
    done, _ = run(Evaluation(**case))
    assert done == all_places(case)[-1:]
    assert len(pd.read_csv(case["output_dir"] / "report.csv")) == sum(SLICES.values()) * 8


def test_the_parts_of_evaluations_go_with_the_report_and_nothing_else(case):
    run(Evaluation(**case), stop=2)
    run(Evaluation(**case | {"scales": [2.0]}))
    assert {path.name for path in case["output_dir"].iterdir()} == REPORTS
    (case["output_dir"] / "parts").mkdir()
    (case["output_dir"] / "parts" / "of my own").write_text("mine")
    run(Evaluation(**case | {"scales": [2.0]}))
    assert [path.name for path in (case["output_dir"] / "parts").iterdir()] == ["of my own"]


def weights(folder, seed):
    torch.manual_seed(seed)
    torch.save(small_generator(width=4, depth=1, hidden_channels=8, skip="bicubic").state_dict(), folder / "w.pt")
    return load_models({"bicubic": "bicubic", "mine": folder / "w.pt"}, "cpu")


def touch(case):
    os.utime(case["datalist"][0]["image"], (1, 1))
    return case


def shorten(case):
    path = case["datalist"][0]["image"]
    times = os.stat(path).st_atime, os.stat(path).st_mtime
    write_volume(case["output_dir"].parent / "copy.nii.gz", np.zeros((20, 18, 1))).replace(path)
    os.utime(path, times)
    return case


CHANGES = {
    "scales": lambda case: case | {"scales": [2.0, 3.0]},
    "order of volumes": lambda case: case | {"datalist": case["datalist"][::-1]},
    "time of a file": touch,
    "content of a file": shorten,
    "order of methods": lambda case: case | {"models": dict(reversed(case["models"].items()))},
    "name of a method": lambda case: case | {"models": {"other": case["models"]["mine"]}},
    "weights of a file": lambda case: case | {"models": weights(case["output_dir"].parent, 1)},
    "weights of a network": lambda case: case | {"models": load_models({"bicubic": "bicubic", "mine": Brighter(0.1)})},
    "order of degradations": lambda case: case | {"degradations": ["psf", "paper"]},
    "parameter of a degradation": lambda case: case | {"degradations": ["paper", "psf:fwhm=0.9"]},
    "protocol": lambda case: case | {"protocol": {"margin": 2}},
    "step": lambda case: case | {"slice_step": 2},
    "distances": lambda case: case | {"distances": ({"fid": None}, {})},
    "pictures": lambda case: case | {"picture_scales": [2.5]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_evaluation_that_differs_in_anything_starts_anew(case, volumes, tmp_path, change):
    copies = [tmp_path / "data" / name for name in SLICES]
    for item, copy in zip(case["datalist"], copies, strict=True):
        write_volume(copy, np.asarray(nib.load(item["image"]).dataobj))
    case["datalist"] = [{"image": str(copy)} for copy in copies]
    if change == "weights of a file":
        case["models"] = weights(tmp_path, 0)
    before = Evaluation(**case)
    for place in all_places(case):
        before.part(*place).parent.mkdir(parents=True, exist_ok=True)
        before.part(*place).write_bytes(b"done")
    assert len(Evaluation(**case).remaining(Dataset(case["datalist"]))) == 1
    after = Evaluation(**CHANGES[change](case))
    assert len(after.remaining(Dataset(after.items))) == len(after.items) * len(after.degradations) * len(after.scales)


def test_a_scale_that_is_given_twice_counts_once(case):
    case["scales"] = [2, 2.0, (2, 2.0), [2, 2, 1]]
    done, _ = run(Evaluation(**case))
    assert len(done) == 3 * 2
    assert len(pd.read_csv(case["output_dir"] / "report.csv")) == sum(SLICES.values()) * 2 * 2


@pytest.mark.parametrize(
    "argument, value, message",
    [
        ("datalist", [], "there are no volumes to evaluate"),
        ("models", {}, "there are no methods to evaluate"),
        ("scales", [], "there are no scales to evaluate"),
        ("degradations", [], "there are no degradations to evaluate by"),
        ("degradations", ["psf", "blur"], "the degradation 'blur' cannot be made: there is no 'blur', take one of"),
    ],
)
def test_a_comparison_of_nothing_is_refused(case, argument, value, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(**case | {argument: value})
    assert not case["output_dir"].exists()


@pytest.mark.parametrize("name", ["image", "label", "input", "truth"])
def test_a_method_may_not_take_the_place_of_what_it_is_compared_with(case, name):
    with pytest.raises(ValueError, match=f"a method cannot be called '{name}'"):
        Evaluation(**case | {"models": load_models({name: "bicubic"}, "cpu")})


def test_who_was_trained_on_is_not_tested(case):
    items = case["datalist"]
    elsewhere = {"image": "/elsewhere/x.nii.gz"}
    Evaluation(**case, training=[elsewhere, elsewhere | {"subject": "sub-2"}])
    with pytest.raises(ValueError, match="the subject sub-1 is in the lists of training and of testing"):
        Evaluation(**case, training=[elsewhere | {"subject": "sub-1"}])
    with pytest.raises(ValueError, match="the subject 7 is in the lists"):
        Evaluation(**case | {"datalist": [items[2] | {"subject": 7}]}, training=[elsewhere | {"subject": "7"}])
    detour = os.path.join(os.path.dirname(items[2]["image"]), "..", "plain", "x.nii.gz")
    with pytest.raises(ValueError, match=r"the file .*plain/x\.nii\.gz is in the lists"):
        Evaluation(**case, training=[{"image": detour}])


def features(images):
    return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1)


def test_distances_are_those_of_all_slices_of_a_scale_that_show_something(case, tmp_path, monkeypatch):
    monkeypatch.setattr("miassr_monai.evaluation.scoring.CHUNK", 2)
    first = load(case["datalist"][0]).squeeze(1)
    # A slice of one value, one that is below the range of the images, and one that reaches beyond it.
    data = torch.stack([first[0], torch.zeros(20, 18), -1 - first[1], 2 * first[2] - 0.5], -1).numpy()
    bright = np.repeat([1.2, 1.5], 360).reshape(20, 18, 2)
    empty = write_volume(tmp_path / "data" / "empty.nii.gz", bright)
    odd = write_volume(tmp_path / "data" / "odd.nii.gz", data)
    case["datalist"] = [*case["datalist"], {"image": str(odd)}, {"image": str(empty)}]
    seen = []

    def extract(images):
        assert images.amin() >= 0 and images.amax() <= 1 and (images.std((1, 2, 3)) > 0).all() and len(images) <= 2
        seen.append(len(images))
        return features(images).numpy()

    distance = FeatureDistance(extract, lambda truth, other: float(np.abs(other.mean(0) - truth.mean(0)).sum()))
    run(Evaluation(**case, distances=({"fid": distance}, {"frd": "no reason"})))
    report = json.loads((case["output_dir"] / "report.json").read_text())
    assert report["left_out"]["frd"] == "no reason" and "fid" not in report["left_out"]
    # Eight slices of before, and two of the odd volume, which have something in [0, 1].
    assert [record["slices"] for record in report["distances"]] == [10] * 8
    assert sum(seen) == 10 * 3 * 4
    expected = []
    for degrade in named_degradations(case["degradations"]).values():
        for scale, width in ((2.0, 18), (2.5, 17)):
            sets = [[], [], []]
            for item in case["datalist"]:
                small = degrade(load(item), scale)
                fine = [model.network(small, scale) for model in case["models"].values()]
                for images, kept in zip([load(item)[..., :width], *fine], sets, strict=True):
                    kept += [image for image in images.clamp(0, 1) if image.amax() > image.amin()]
            truth, *others = [features(torch.stack(kept)).mean(0) for kept in sets]
            expected += [(other - truth).abs().sum().item() for other in others]
    assert [record["value"] for record in report["distances"]] == pytest.approx(expected, rel=1e-5)
    assert [(r["degradation"], r["scale"], r["method"], r["measure"]) for r in report["distances"]] == [
        (degradation, scale, method, "fid")
        for degradation in ("paper", "psf")
        for scale in ("2", "2.5")
        for method in ("bicubic", "mine")
    ]


def test_a_distance_that_cannot_be_had_does_not_cost_the_report(case):
    def fail(truth, other):
        raise ValueError("give at least 2 of each")

    run(Evaluation(**case, distances=({"fid": FeatureDistance(features, fail)}, {})))
    report = json.loads((case["output_dir"] / "report.json").read_text())
    assert report["left_out"]["fid"] == "give at least 2 of each"
    assert {record["value"] for record in report["distances"]} == {None}


def test_pictures_are_of_the_wanted_scales_under_the_first_degradation(case, monkeypatch):
    shown = []
    monkeypatch.setattr("miassr_monai.evaluation.evaluation.write_report", lambda *args: shown.extend(args[3]))
    run(Evaluation(**case, picture_scales=[2.5, 4.0]))
    assert [(picture["volume"], picture["kind"], picture["scale"]) for picture in shown] == [
        (name, kind, "2.5") for name in SLICES for kind in ("typical", "worst")
    ]
    for picture in shown[::2]:
        name, middle = picture["volume"], SLICES[picture["volume"]] // 2
        whole = load(case["datalist"][list(SLICES).index(name)])
        small = paper_degradation(whole, 2.5)
        assert picture["slice"] == middle
        images = {
            "input": small,
            "bicubic": Bicubic()(small, 2.5),
            "mine": Bicubic()(small, 2.5) + 0.05,
            "truth": whole[..., :17],
        }
        assert list(picture["images"]) == list(images)
        for key, image in images.items():
            np.testing.assert_allclose(picture["images"][key].float(), image[middle, 0], rtol=0, atol=1e-3)


def test_without_a_wanted_scale_the_last_one_is_shown(case):
    assert Evaluation(**case, picture_scales=[7.0]).picture_scales == [2.5]
    assert Evaluation(**case).picture_scales == [2.0]


def test_scales_come_in_their_order_and_unequal_ones_are_shown(case):
    evaluation = Evaluation(**case | {"scales": [4, (1, 3), 2.0, (1, 2), 2.5]})
    assert evaluation.scales == [2.0, 2.5, 4.0, (1.0, 3.0), (1.0, 2.0)]
    assert evaluation.picture_scales == [2.0, 4.0, (1.0, 3.0), (1.0, 2.0)]


def test_the_protocol_says_what_was_compared(case):
    protocol = Evaluation(**case, protocol={"axcodes": "RAS"}, training=[{"image": "/elsewhere/x.nii"}] * 3).protocol
    assert protocol == {
        "volumes": list(SLICES),
        "subjects": ["plain/x.nii.gz", "sub-1"],
        "volumes_trained_on": 3,
        "scales": ["2", "2.5"],
        "degradations": ["paper", "psf"],
        "slice_step": 1,
        "axcodes": "RAS",
    }


def broken(folder, name="broken.nii.gz"):
    path = folder / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no volume")
    return {"image": str(path)}


def test_a_volume_that_cannot_be_read_is_left_out_and_told(case, tmp_path, caplog):
    run(Evaluation(**case))
    expected = contents(case["output_dir"])
    first, *others = case["datalist"]
    missing = {"image": str(tmp_path / "data" / "missing.nii")}
    case |= {"output_dir": tmp_path / "again", "datalist": [broken(tmp_path), first, missing, *others]}
    evaluation = Evaluation(**case)
    names = [next(name for name in evaluation.volumes if end in name) for end in ("broken", "missing")]
    run(evaluation)
    assert list(evaluation.failed) == names
    assert (
        f"{case['datalist'][0]['image']} is not a NIfTI or Analyze image or is damaged" in evaluation.failed[names[0]]
    )
    assert f"there is no file or folder {missing['image']}" in evaluation.failed[names[1]]
    # Once for all degradations and scales, and without a traceback.
    assert [record.message for record in caplog.records] == [f"{n} is left out: {evaluation.failed[n]}" for n in names]
    assert all(record.levelname == "WARNING" and record.exc_info is None for record in caplog.records)
    _, report = contents(case["output_dir"])
    assert report["failed"] == evaluation.failed
    assert [r["mean"] for r in report["summary"]] == [r["mean"] for r in expected[1]["summary"]]
    assert len(pd.read_csv(case["output_dir"] / "report.csv")) == sum(SLICES.values()) * 8
    assert {path.name for path in case["output_dir"].iterdir()} == REPORTS


def test_a_volume_that_fails_at_one_scale_is_left_out_of_all(case, tmp_path, volumes):
    small = write_volume(tmp_path / "data" / "small.nii.gz", np.random.default_rng(0).random((3, 3, 2)))
    case |= {"datalist": [{"image": str(small)}, *case["datalist"]], "scales": [2.0, 4.0]}
    evaluation = Evaluation(**case)
    run(evaluation)
    (reason,) = evaluation.failed.values()
    assert "too small to be degraded" in reason
    assert small.name not in set(pd.read_csv(case["output_dir"] / "report.csv")["volume"].str.rpartition("/")[2])


class Failing(Bicubic):
    def forward(self, x, scale):
        if len(x) == SLICES["sub-1/t2.nii.gz"]:
            raise IndexError("an index is out of range\nin detail")
        return super().forward(x, scale)


def test_an_error_that_nobody_foresaw_costs_its_volume_only_and_is_told_with_its_traceback(case, caplog):
    case["models"] = load_models({"bicubic": "bicubic", "mine": Failing()}, "cpu")
    evaluation = Evaluation(**case)
    run(evaluation)
    assert evaluation.failed == {"sub-1/t2.nii.gz": "IndexError: an index is out of range"}
    assert set(pd.read_csv(case["output_dir"] / "report.csv")["volume"]) == {"sub-1/t1.nii.gz", "plain/x.nii.gz"}
    (record,) = caplog.records
    assert record.levelname == "ERROR" and record.exc_info[0] is IndexError


def test_an_error_of_scoring_costs_its_volume_only(case, monkeypatch):
    def fail(measured, *args):
        if len(measured) == SLICES["sub-1/t2.nii.gz"]:
            raise ValueError("no foreground")
        return foreground_mask(measured, *args)

    monkeypatch.setattr("miassr_monai.evaluation.scoring.foreground_mask", fail)
    evaluation = Evaluation(**case)
    run(evaluation)
    assert evaluation.failed == {"sub-1/t2.nii.gz": "no foreground"}


def test_where_no_volume_can_be_evaluated_there_is_no_report(case, tmp_path):
    case["datalist"] = [broken(tmp_path), broken(tmp_path, "other.nii.gz")]
    with pytest.raises(ValueError, match=r"none of the 2 volumes could be evaluated; broken.nii.gz: .* is not a NIfTI"):
        run(Evaluation(**case))
    assert not case["output_dir"].exists()


def test_a_full_disk_is_not_the_volumes_fault(case, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("miassr_monai.evaluation.evaluation.save_atomically", fail)
    with pytest.raises(OSError, match="No space left"):
        run(Evaluation(**case))


def test_every_so_many_slices_are_taken(case):
    run(Evaluation(**case | {"slice_step": 2}))
    rows = pd.read_csv(case["output_dir"] / "report.csv")
    assert rows.groupby("volume", sort=False)["slice"].nunique().to_dict() == {
        "sub-1/t1.nii.gz": 3,
        "sub-1/t2.nii.gz": 1,
        "plain/x.nii.gz": 1,
    }
    # The second is the third of the volume.
    truth = load(case["datalist"][0])[2:3]
    row = rows[(rows["method"] == "mine") & (rows["slice"] == 1)].iloc[0]
    small = paper_degradation(truth, 2.0)
    fine = case["models"]["mine"].network(small, 2.0)
    assert row["psnr"] == pytest.approx(-10 * (fine - truth).square().mean().log10().item(), abs=1e-4)
    with pytest.raises(ValueError, match="slice_step must be at least 1, got 0"):
        Evaluation(**case | {"slice_step": 0})


def test_a_scale_that_a_method_cannot_do_is_refused_before_any_work(case):
    case["models"]["mine"].network.anisotropic = False
    with pytest.raises(ValueError, match="the method 'mine' cannot do a scale such as 1x2"):
        Evaluation(**case | {"scales": [2.0, (1, 2)]})
    assert not case["output_dir"].exists()


def test_networks_on_volumes_are_evaluated_on_volumes(case, tmp_path):
    data = np.random.default_rng(3).random((20, 18, 9))
    # The second slice is empty, and the last is not covered by the output at scale 2.
    data[..., 1] = 0
    path = write_volume(tmp_path / "data" / "volume.nii.gz", gaussian_filter(data, (1, 1, 0)))
    case |= {"datalist": [{"image": str(path)}], "scales": [2.0, (1, 1, 3)], "picture_scales": [(1, 1, 3)]}
    case["models"] = load_models({"bicubic": "bicubic", "mine": Brighter(spatial_dims=3)}, "cpu")
    run(Evaluation(**case | {"slice_step": 3}))
    found = pd.read_csv(case["output_dir"] / "report.csv").set_index(["degradation", "scale", "method"]).sort_index()
    volume = load_volume(path).as_tensor()[None]
    for degradation, degrade in named_degradations(case["degradations"]).items():
        for scale, depth in (((2.0, 2.0, 2.0), 8), ((1.0, 1.0, 3.0), 9)):
            small, truth = degrade(volume, scale), volume[..., :depth]
            assert small.shape[2:] == tuple(int(n / s) for n, s in zip((20, 18, 9), scale, strict=True))
            for method, model in case["models"].items():
                fine = model.network(small, scale)
                rows = found.loc[degradation, "2" if depth == 8 else "1x1x3", method]
                # Of the slices that show something every third.
                kept = [0, 4, 7]
                psnr = [-10 * (fine - truth)[..., k].square().mean().log10().item() for k in kept]
                np.testing.assert_allclose(rows["psnr"], psnr, atol=1e-4)
                rmse = (degrade(fine, scale) - small).square().mean().sqrt().item()
                np.testing.assert_allclose(rows["consistency"], rmse, rtol=1e-4)


def test_slices_and_volumes_are_not_compared(case):
    case["models"] |= load_models({"volumes": Bicubic(3)}, "cpu")
    with pytest.raises(ValueError, match="'mine' sees slices and 'volumes' sees volumes"):
        Evaluation(**case)
