"""Where an evaluation spends its time.

    python benchmarks/evaluation.py --volumes 30 --json evaluation.json

The bundle's ``evaluate.json`` as it is, at scales 1.5 to 4 under the ``paper`` degradation, on volumes of random discs,
profiled. The parts are those of the profiler's cumulative times.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow
from timing import write_json

from miassr_monai.bundle import default_bundle

SIZE = (180, 216, 20)
# What is shown: file and function of the profile.
PARTS = {
    "networks": ("super_resolution_inferer.py", "__call__"),
    "scores of slices": ("slice_scores.py", "slice_scores"),
    "loading": ("scale_batch.py", "_transform"),
    "degradation": ("prepare_batch.py", "__call__"),
    "foreground": ("foreground.py", "foreground_mask"),
    "parts written": ("files.py", "save_atomically"),
    "summary and report": ("evaluation.py", "finish"),
}


def write_volumes(folder: Path, count: int) -> None:
    """Volumes of discs of random places, sizes and intensities."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for index in range(count):
        volume = np.zeros(SIZE, dtype=np.float32)
        for _ in range(60):
            y, x, radius, first = generator.uniform(0, (SIZE[0], SIZE[1], 25, SIZE[2] - 4))
            disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            volume[disc, int(first) : int(first) + 4] += generator.uniform(50, 200)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / f"{index:02d}.nii.gz")


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile an evaluation and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=30)
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test").mkdir()
        write_volumes(Path(folder) / "test", args.volumes)
        workflow = ConfigWorkflow(
            config_file=str(default_bundle() / "configs" / "evaluate.json"),
            logging_file=False,
            workflow_type="infer",
            run_id="evaluating",
            bundle_root=str(default_bundle()),
            dataset_dir=folder,
            output_dir=f"{folder}/report",
            degradations=["paper"],
        )
        workflow.initialize()
        profile = cProfile.Profile()
        profile.runcall(workflow.run)
    stats = pstats.Stats(profile)
    found = {(Path(file).name, name): entry[3] for (file, _, name), entry in stats.stats.items()}
    seconds = {part: found[place] for part, place in PARTS.items()}
    seconds["other"] = stats.total_tt - sum(seconds.values())
    print(f"{args.volumes} volumes of {' x '.join(map(str, SIZE))}: {stats.total_tt:.1f} s")
    for part, value in seconds.items():
        print(f"  {part:<20}{value:8.1f} s {value / stats.total_tt:6.1%}")
    write_json(args.json, {"volumes": args.volumes, "size": SIZE, "total": stats.total_tt, "seconds": seconds})


if __name__ == "__main__":
    main()
