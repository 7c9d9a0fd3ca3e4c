"""One training under measurement, in a process of its own: writes its learning curve into a file.

Run by `benchmarks.learning` with the interpreter of the environment in which the library is installed. It imports that
library only, and evaluates every library's agents by one and the same code.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

EVALUATION_SEED = 10_000


class Recorder:
    """Evaluates an agent's deterministic policy at each multiple of a number of steps, and keeps the returns."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.env = gym.make(job["env_id"])
        self.job = job
        self.timesteps: list[int] = []
        self.returns: list[list[float]] = []

    def __call__(self, model: Any) -> None:
        """Evaluates, where it is time to."""
        step = model.num_timesteps
        if step % self.job["eval_freq"] == 0 or step == self.job["total_timesteps"]:
            last = step == self.job["total_timesteps"]
            self.timesteps.append(step)
            self.returns.append(self.evaluate(model, self.job["final_episodes" if last else "eval_episodes"]))

    def evaluate(self, model: Any, episodes: int) -> list[float]:
        """Returns the returns of some episodes, begun with seeds that no training uses."""
        returns = []
        for episode in range(episodes):
            observation, _ = self.env.reset(seed=EVALUATION_SEED + 100 * self.job["seed"] + episode)
            total, over = 0.0, False
            while not over:
                action, _ = model.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = self.env.step(action)
                total += float(reward)
                over = terminated or truncated
            returns.append(total)
        return returns


def slc_agents(job: dict[str, Any], recorder: Recorder) -> str:
    """Our SAC, by the settings that the job names."""
    import slc_agents as library

    settings: dict[str, Any] = {"seed": job["seed"], "num_test_episodes": 0, "device": job.get("device", "cpu")}
    settings |= {"compute_kwargs": job.get("compute_kwargs", {})}
    if job["settings"] == "common":
        settings |= {"start_steps": job["start_steps"], "update_after": job["start_steps"], "alpha": 1.0}
        settings |= {"update_every": 1, "steps_per_update": 1, "lr_decay_type": "constant"}
        settings |= {"lr_a": 3e-4, "lr_c": 3e-4, "lr_alpha": 3e-4}
    if job["settings"] == "zoo":
        model = library.zoo.make("sac", job["env_id"], **settings)
    else:
        model = library.SAC("MlpPolicy", job["env_id"], **settings)
    model.learn(job["total_timesteps"], recorder)
    return library.__version__


def stable_baselines3(job: dict[str, Any], recorder: Recorder) -> str:
    """Stable-Baselines3's SAC: its defaults, with the number of random steps that ours has."""
    import stable_baselines3 as library
    from stable_baselines3.common.callbacks import BaseCallback

    class Evaluation(BaseCallback):
        def _on_step(self) -> bool:
            recorder(self.model)
            return True

    model = library.SAC("MlpPolicy", job["env_id"], learning_starts=job["start_steps"], seed=job["seed"], device="cpu")
    model.learn(job["total_timesteps"], Evaluation())
    return library.__version__


LIBRARIES: dict[str, Callable[[dict[str, Any], Recorder], str]] = {
    "slc_agents": slc_agents,
    "stable_baselines3": stable_baselines3,
}


def main() -> None:
    """Trains by the job that the first argument holds as JSON, and writes the result where the second says."""
    import torch

    torch.set_num_threads(1)
    job, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    recorder = Recorder(job)
    began = time.monotonic()
    version = LIBRARIES[job["library"]](job, recorder)
    result = {
        **job,
        "version": version,
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "timesteps": recorder.timesteps,
        "returns": recorder.returns,
        "seconds": time.monotonic() - began,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    partial.rename(path)  # a file that exists is whole


if __name__ == "__main__":
    main()
