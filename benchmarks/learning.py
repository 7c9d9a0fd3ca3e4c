"""What return does training reach? Several seeds of one task, each evaluated on its own.

    python -m benchmarks.learning Pendulum-v1 --total-timesteps 20000 --seeds 5
    python -m benchmarks.learning Pendulum-v1 --zoo --seeds 5

Prints each seed's mean return over the evaluation episodes, and mean and range over the seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from typing import NamedTuple

import numpy as np


class Result(NamedTuple):
    """What one seed came to."""

    seed: int
    mean: float
    std: float
    seconds: float


class Job(NamedTuple):
    """One training."""

    env_id: str
    zoo: bool
    total_timesteps: int | None
    episodes: int
    seed: int


def train_and_evaluate(job: Job) -> Result:
    """Trains one agent and evaluates its deterministic policy in an environment of its own."""
    import torch

    from slc_agents import SAC, zoo
    from slc_agents.evaluation import evaluate_policy

    torch.set_num_threads(1)
    began = time.monotonic()
    model = zoo.make("sac", job.env_id, seed=job.seed) if job.zoo else SAC("MlpPolicy", job.env_id, seed=job.seed)
    model.learn(job.total_timesteps)
    mean, std = evaluate_policy(model, job.env_id, job.episodes, seed=10_000 + job.seed)
    return Result(job.seed, mean, std, time.monotonic() - began)


def main() -> None:
    """Runs the seeds side by side and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id")
    parser.add_argument("--zoo", action="store_true", help="the zoo file's hyperparameters, not the defaults")
    parser.add_argument("--total-timesteps", type=int, help="default: epochs * steps_per_epoch")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=50, help="evaluation episodes of a seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="seeds that train at once (default: %(default)s)")
    options = parser.parse_args()
    jobs = [
        Job(options.env_id, options.zoo, options.total_timesteps, options.episodes, seed)
        for seed in range(options.seeds)
    ]
    results = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for result in pool.imap(train_and_evaluate, jobs):
            print(f"seed {result.seed}: {result.mean:9.1f} ± {result.std:.1f}   ({result.seconds:.0f} s)", flush=True)
            results.append(result)
    means = np.array([result.mean for result in results])
    print(
        f"{options.env_id}: mean over {len(means)} seeds {means.mean():.1f}, "
        f"standard deviation {means.std(ddof=1) if len(means) > 1 else 0.0:.1f}, "
        f"lowest {means.min():.1f}, highest {means.max():.1f}"
    )


if __name__ == "__main__":
    main()
