r"""What return does training reach, and how fast? Several seeds of one task, each evaluated on its own.

    python -m benchmarks.learning Pendulum-v1 --total-timesteps 20000
    python -m benchmarks.learning Pendulum-v1 --zoo
    make peers    # once: installs Stable-Baselines3 into an environment of its own
    python -m benchmarks.learning HalfCheetah-v5 --against stable_baselines3 --total-timesteps 100000 \
        --start-steps 10000 --plot docs/images/halfcheetah_curves.svg

Against another library both have its defaults: all learning rates 3e-4 and constant, batches of 256, one gradient step
for each environment step, an initial temperature of 1. Each training is a process of its own with one thread, and is
evaluated in the same way. Results are kept in `runs/learning`, so a benchmark that was broken off goes on where it was.
Prints each seed's mean return over the last evaluation, then mean, 95% interval (Student's t) and range over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents import zoo
from slc_agents.drawing import Curve, draw_curves
from slc_agents.intervals import confidence_interval

NAMES = {"slc_agents": "slc_agents", "stable_baselines3": "Stable-Baselines3"}


def main() -> None:
    """Trains what has not been trained yet, prints the table and draws the curves."""
    options = parse()
    jobs = list(make_jobs(options))
    options.results.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda job: train(job, options), jobs):
            results.setdefault(result["library"], []).append(result)
            final = np.array(result["returns"][-1])
            print(
                f"{NAMES[result['library']]} {result['version']}, seed {result['seed']}: {final.mean():9.1f} "
                f"± {final.std():.1f} over {len(final)} episodes   ({result['seconds']:.0f} s)",
                flush=True,
            )
    curves = []
    for library, of_one in results.items():
        means = np.array([[np.mean(returns) for returns in result["returns"]] for result in of_one])  # [seeds, k]
        print(f"{options.env_id}, {NAMES[library]}: {summary(means[:, -1])}")
        low, high = confidence_interval(means) if len(means) > 1 else (None, None)
        label = f"{NAMES[library]}: mean of {len(means)} seeds, 95% interval"
        curves.append(Curve(label, np.array(of_one[0]["timesteps"], float), means.mean(axis=0), low, high))
    if options.plot is not None:
        draw_curves(curves, f"SAC on {options.env_id}", "environment steps", "return of test episodes").savefig(
            options.plot, metadata={"Date": None} if options.plot.suffix == ".svg" else None
        )


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id")
    parser.add_argument("--zoo", action="store_true", help="the zoo file's hyperparameters, not the defaults")
    parser.add_argument("--against", choices=[name for name in NAMES if name != "slc_agents"], help="another library")
    parser.add_argument("--common", action="store_true", help="the settings of --against, for our library alone")
    parser.add_argument("--device", default="cpu", help="of ours (default: %(default)s)")
    parser.add_argument("--compute-kwargs", type=json.loads, help="our compute_kwargs, as JSON")
    parser.add_argument("--total-timesteps", type=int, help="default: what the settings say")
    parser.add_argument("--start-steps", type=int, default=0, help="random steps at first, with --against")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... (default: %(default)s)")
    parser.add_argument("--eval-freq", type=int, default=5_000, help="steps between evaluations (default: %(default)s)")
    parser.add_argument(
        "--episodes", type=int, help="episodes of the last one (default: 20 with --against or --common, else 50)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("runs/learning"), help="folder (default: %(default)s)")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"), help="interpreter of the peers")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    return parser.parse_args()


def make_jobs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields what is to be trained, seed by seed."""
    settings = "common" if options.against or options.common else "zoo" if options.zoo else "defaults"
    config = zoo.load_config("sac", options.env_id) if options.zoo else None
    total = options.total_timesteps or (config.epochs * config.steps_per_epoch if config else 204_800)
    for seed in range(options.seeds):
        for library in ("slc_agents", options.against) if options.against else ("slc_agents",):
            yield {
                "library": library,
                "env_id": options.env_id,
                "settings": settings,
                "seed": seed,
                "total_timesteps": total,
                "start_steps": options.start_steps,
                "eval_freq": options.eval_freq,
                "eval_episodes": 5,
                "final_episodes": options.episodes or (20 if settings == "common" else 50),
                **({"device": options.device} if options.device != "cpu" else {}),
                **({"compute_kwargs": options.compute_kwargs} if options.compute_kwargs else {}),
            }


def train(job: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Returns the result of one training, which is only done where it isn't there yet."""
    ours = {**job.get("compute_kwargs", {}), **({"device": job["device"]} if "device" in job else {})}
    how = "".join(f"_{key}={value}" for key, value in ours.items())
    name = f"{job['env_id'].replace('/', '__')}_{job['settings']}{how}_{job['library']}_{job['seed']}.json"
    path: Path = options.results / name
    result = read(path)
    if not job.items() <= result.items():  # none, or one of other steps or episodes
        python = sys.executable if job["library"] == "slc_agents" else str(options.peers)
        program = str(Path(__file__).with_name("trainings.py"))
        done = subprocess.run(
            [python, program, json.dumps(job), str(path)], stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"the training of {job['library']} with seed {job['seed']} failed:\n{done.stderr}")
        result = read(path)
    return result


def read(path: Path) -> dict[str, Any]:
    """Returns a result, empty where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def summary(means: NDArray[np.float64] | Sequence[float]) -> str:
    """Says the seeds' means in one line."""
    values = np.asarray(means, float)
    text = f"mean over {len(values)} seeds {values.mean():.1f}"
    if len(values) > 1:
        low, high = confidence_interval(values[:, None])
        text += f", 95% interval {low[0]:.1f} to {high[0]:.1f}, standard deviation {values.std(ddof=1):.1f}"
    return f"{text}, lowest {values.min():.1f}, highest {values.max():.1f}"


if __name__ == "__main__":
    main()
