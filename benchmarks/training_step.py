"""What a training step costs: warm-up and GAN, direct evaluation and this package's module, float32 and bfloat16.

    python benchmarks/training_step.py --json training_step.json

A step is 16 patches of 96 x 96 pixels, forward, backward and Adam; figures are means over six scales without a simple
fraction, spread evenly over (1, 4]. The variants take their steps in turn, round after round. Peak memory is that of a
fresh process beyond what it had before, at the scale that needs most.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from meta_upscale import direct
from timing import interleave, own_peak_mib, peak_mib_in_a_process, write_json

from miassr_monai.engines import SRGANTrainer
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.losses import JointLoss, WassersteinGPLoss
from miassr_monai.networks import EDSR, Critic, MetaSRGenerator

SCALES = (1.2514, 1.7523, 2.2541, 2.7519, 3.2533, 3.7547)
BATCH, PATCH = 16, 96
PUBLISHED, DEFAULT = {"width": 64, "dense_channels": 1024}, {}
# Name: direct evaluation, bfloat16, compiled trunk, arguments of the critic (None: warm-up), penalty interval.
VARIANTS = {
    "warm-up, direct": (True, False, False, None, 1),
    "warm-up": (False, False, False, None, 1),
    "warm-up, bfloat16": (False, True, False, None, 1),
    "warm-up, compiled": (False, False, True, None, 1),
    "warm-up, bfloat16, compiled": (False, True, True, None, 1),
    "GAN, direct, published critic": (True, False, False, PUBLISHED, 1),
    "GAN, published critic": (False, False, False, PUBLISHED, 1),
    "GAN, published critic, lazy penalty": (False, False, False, PUBLISHED, 4),
    "GAN, default critic": (False, False, False, DEFAULT, 4),
    "GAN, default critic, bfloat16": (False, True, False, DEFAULT, 4),
}


def batch(scale: float) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, float]]:
    """LR images, HR targets, and the generator's further arguments, as ``DegradeBatch`` gives them."""
    size = int(PATCH / scale)
    target = torch.rand(BATCH, 1, int(size * scale), int(size * scale))
    return torch.rand(BATCH, 1, size, size), target, (), {"scale": scale}


def workload(name: str) -> Callable[[float], None]:
    """One training step of a variant as a function of the scale; a lazy penalty is spread over its interval."""
    is_direct, amp, compiled, critic_arguments, interval = VARIANTS[name]
    torch.manual_seed(0)
    generator = MetaSRGenerator(EDSR(), skip="bicubic")
    if is_direct:
        upscale = partial(direct, generator.meta_upscale)
        generator.meta_upscale.forward = lambda features, scale, origin: upscale(features, scale)
    if compiled:
        generator.trunk.compile(dynamic=True)
    inferer = SuperResolutionInferer(BATCH, amp=amp)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    if critic_arguments is None:

        def step(scale: float) -> None:
            image, target, _, arguments = batch(scale)
            optimizer.zero_grad(set_to_none=True)
            F.l1_loss(inferer(image, generator, **arguments), target).backward()
            optimizer.step()

        return step
    critic = Critic(**critic_arguments, amp=amp)
    adversarial = WassersteinGPLoss(penalty_interval=interval)
    trainer = SRGANTrainer(
        "cpu",
        1,
        [],
        generator,
        optimizer,
        JointLoss(adversarial, None, perceptual_weight=0),
        critic,
        torch.optim.Adam(critic.parameters(), lr=1e-5, betas=(0.0, 0.9)),
        adversarial,
        lambda scale, *_, **__: batch(scale),
        inferer=inferer,
    )

    def gan_step(scale: float) -> None:
        trainer.state.iteration += 1
        trainer._iteration(trainer, scale)

    return gan_step


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="a multiple of 4, the interval of the lazy penalty")
    parser.add_argument("--json", default="training_step.json")
    parser.add_argument("--peak", metavar="VARIANT", help="print one variant's memory and stop")
    args = parser.parse_args()
    if args.peak:
        step = workload(args.peak)
        print(own_peak_mib(lambda: step(SCALES[0])))
        return
    steps = {name: workload(name) for name in VARIANTS}
    times = {
        scale: interleave({name: partial(step, scale) for name, step in steps.items()}, args.rounds) for scale in SCALES
    }
    figures = {}
    print(f"{'step':<38}{'ms':>8}{'images/s':>10}{'peak MiB':>10}{'faster than direct':>20}")
    for name in VARIANTS:
        # The mean over the rounds, which a lazy penalty spreads over several.
        seconds = statistics.fmean(times[scale][name]["mean"] for scale in SCALES)
        first = "GAN, direct, published critic" if name.startswith("GAN") else "warm-up, direct"
        ratio = (figures[first]["seconds"] if first in figures else seconds) / seconds
        peak = peak_mib_in_a_process(__file__, "--peak", name)
        print(f"{name:<38}{seconds * 1e3:>8.0f}{BATCH / seconds:>10.1f}{peak:>10.0f}{ratio:>19.1f}x", flush=True)
        figures[name] = {"seconds": seconds, "peak_mib": peak, "by_scale": {s: times[s][name] for s in SCALES}}
    write_json(args.json, figures)


if __name__ == "__main__":
    main()
