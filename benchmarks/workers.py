"""One library under measurement, in a process of its own: told on standard input what to time, it answers in seconds.

Run by `benchmarks.throughput` with the interpreter of the environment in which the library is installed. It imports
that library only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP = 500  # environment steps before anything is timed, so that there is something to sample


def slc_agents(setting: dict[str, Any]) -> dict[str, Callable[[int], object]]:
    """Our SAC, with one gradient step for each environment step."""
    import torch

    from slc_agents import SAC

    torch.set_num_threads(setting["threads"])
    model = SAC(
        "MlpPolicy",
        setting["env_id"],
        batch_size=setting["batch_size"],
        update_every=1,
        steps_per_update=1,
        update_after=WARM_UP // 2,
        lr_a=3e-4,
        lr_c=3e-4,
        lr_alpha=3e-4,
        lr_decay_type="constant",
        num_test_episodes=0,
        seed=0,
    )
    model.learn(WARM_UP)
    observation = model.observation_space.sample()
    learner, memory = model._learner, model.replay_buffer
    return {
        "learn": lambda n: model.learn(n, reset_num_timesteps=False),
        "gradient step": lambda n: [learner.update(memory, 1) for _ in range(n)],
        "predict": lambda n: [model.predict(observation, deterministic=True) for _ in range(n)],
    }


def stable_baselines3(setting: dict[str, Any]) -> dict[str, Callable[[int], object]]:
    """Stable-Baselines3's SAC, with the same nets, batch and ratio."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(setting["threads"])
    model = SAC(
        "MlpPolicy",
        setting["env_id"],
        batch_size=setting["batch_size"],
        train_freq=1,
        gradient_steps=1,
        learning_starts=WARM_UP // 2,
        seed=0,
    )
    model.learn(WARM_UP)
    observation = model.observation_space.sample()
    return {
        "learn": lambda n: model.learn(n, reset_num_timesteps=False),
        "gradient step": lambda n: model.train(n, setting["batch_size"]),
        "predict": lambda n: [model.predict(observation, deterministic=True) for _ in range(n)],
    }


LIBRARIES = {"slc_agents": slc_agents, "stable_baselines3": stable_baselines3}


def main() -> None:
    """Makes the library ready, then answers one request a line: what to time, and how many of it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints must not look like an answer
    measures = LIBRARIES[sys.argv[1]](json.loads(sys.argv[2]))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, n = json.loads(line)
        began = time.perf_counter()
        measures[name](n)
        print((time.perf_counter() - began) / n, file=answers, flush=True)


if __name__ == "__main__":
    main()
