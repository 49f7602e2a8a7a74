"""Which critic learns, by which loss? Critics trained to tell sharp patches from bicubic ones, on held-out patches.

    python benchmarks/critics.py --json critics.json

Real images are patches of the sample volume (MNI152, axial blocks for training and validation apart), fake ones the
same patches degraded and upscaled again by bicubic interpolation, or by a network, at scales drawn as in training.
Critic and loss are those of `train.json` with an overlay. Each is trained until it has learnt something: until at least
`--learnt` of the held-out pairs have the higher score at the real patch, at two looks in a row, or for `--steps`. Shown
are that share, and the gap between the scores in units of their spread, at every look.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from sample_patches import BATCH, PATCH, draw_patches, load_slices
from timing import write_json

from miassr_monai.bundle import default_bundle
from miassr_monai.degradations import paper_degradation
from miassr_monai.losses import AdversarialLoss
from miassr_monai.networks import Critic, load_network
from miassr_monai.resampling import bicubic_upscale

# Overlay of the bundle, and what is set beyond it.
CRITICS: dict[str, tuple[str | None, dict[str, object]]] = {
    "WGAN-GP (default)": (None, {}),
    "WGAN-GP, published critic": ("wgan_gp", {}),
    "WGAN-GP, published, lazy": ("wgan_gp", {"penalty_interval": 4}),
    "WGAN, published limit": ("wgan", {"adversarial_loss#limit": 0.01}),
    "WGAN, limit 0.05": ("wgan", {}),
    "vanilla": ("vanilla", {}),
    "vanilla, batch norm": ("vanilla", {"critic_batch_norm": True}),
    "RaGAN": ("ragan", {}),
    "RaGAN, batch norm": ("ragan", {"critic_batch_norm": True}),
    "R3GAN": ("r3gan", {}),
}


def make(name: str) -> tuple[Critic, AdversarialLoss]:
    """Critic and loss of a name."""
    overlay, settings = CRITICS[name]
    files = [str(default_bundle() / f"configs/{file}.json") for file in ("train", overlay) if file]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    for key, value in settings.items():
        parser[key] = value
    return parser.get_parsed_content("discriminator_def"), parser.get_parsed_content("adversarial_loss")


@torch.no_grad()
def draw_pairs(
    upscale: Callable, batch: int, size: int, slices: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Real patches, and the same patches degraded and upscaled again."""
    scale = 1.5 + 2.5 * torch.rand((), generator=generator).item()
    real = draw_patches(slices, generator, batch, size)
    fake = upscale(paper_degradation(real, scale), scale)
    return real[..., : fake.size(-2), : fake.size(-1)], fake


@torch.no_grad()
def judge(critic: Critic, draw: Callable, slices: torch.Tensor) -> tuple[float, float]:
    """Share of held-out pairs in the right order, and the mean gap of their scores in standard deviations."""
    critic.eval()
    generator = torch.Generator().manual_seed(1)
    pairs = [draw(slices, generator) for _ in range(8)]
    gaps = torch.cat([critic(real) - critic(fake) for real, fake in pairs])
    return (gaps > 0).float().mean().item(), (gaps.mean() / gaps.std()).item()


def main() -> None:
    """Train each critic, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=96, help="at most")
    parser.add_argument("--interval", type=int, default=6, help="steps from one look to the next")
    parser.add_argument("--learnt", type=float, default=0.95, help="above 1 all steps are done")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--weights", help="of the network that makes the fake images; default: bicubic interpolation")
    parser.add_argument("--batch", type=int, default=BATCH, help="patches in a step")
    parser.add_argument("--size", type=int, default=PATCH, help="of a patch along each axis")
    parser.add_argument("--sample", default="sample", help="folder for the sample data")
    parser.add_argument("--critic", choices=CRITICS, action="append", help="default: all of them")
    parser.add_argument("--json", default="critics.json")
    args = parser.parse_args()
    training, validation = (load_slices(section, args.sample) for section in ("training", "validation"))
    upscale = load_network(args.weights).eval() if args.weights else bicubic_upscale
    draw = partial(draw_pairs, upscale, args.batch, args.size)
    figures = []
    print(f"{'critic':<26}{'parameters':>12}{'step':>6}{'seconds':>9}{'in order':>10}{'gap':>7}")
    for name in args.critic or CRITICS:
        set_determinism(0)
        generator = torch.Generator().manual_seed(0)
        critic, loss = make(name)
        optimizer = torch.optim.Adam(critic.parameters(), lr=args.learning_rate, betas=(0.0, 0.9))
        parameters, seconds, looks = sum(p.numel() for p in critic.parameters()), 0.0, 0
        for step in range(1, args.steps + 1):
            real, fake = draw(training, generator)
            start = time.perf_counter()
            critic.train()
            optimizer.zero_grad(set_to_none=True)
            loss.critic_loss(critic, real, fake, step)["critic_loss"].backward()
            optimizer.step()
            loss.constrain(critic)
            seconds += time.perf_counter() - start
            if step % args.interval == 0:
                order, gap = judge(critic, draw, validation)
                print(f"{name:<26}{parameters:>12,}{step:>6}{seconds:>9.1f}{order:>10.1%}{gap:>7.2f}", flush=True)
                figures.append({"critic": name, "step": step, "seconds": seconds, "in_order": order, "gap": gap})
                looks = looks + 1 if order >= args.learnt else 0
                if looks == 2:
                    break
    write_json(args.json, figures)


if __name__ == "__main__":
    main()
