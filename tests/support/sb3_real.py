"""Models that Stable-Baselines3 itself writes, and what they compute: `python sb3_real.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

IMAGE = spaces.Box(0, 255, (44, 40, 3), np.uint8)
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
SMALL = {"net_arch": [16]}
MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "mlp": ("MlpPolicy", VECTOR, {"policy_kwargs": {"net_arch": [32, 16]}}),
    "options": (
        "MlpPolicy",
        spaces.Box(-np.inf, np.inf, (5,), np.float64),
        {
            "policy_kwargs": {
                "net_arch": {"pi": [16], "qf": [24, 8]},
                "activation_fn": torch.nn.Tanh,
                "n_critics": 3,
            },
            "ent_coef": "auto_0.1",
            "target_entropy": -1.5,
            "tau": 0.01,
            "train_freq": 3,
            "gradient_steps": -1,
        },
    ),
    "fixed": ("MlpPolicy", VECTOR, {"policy_kwargs": SMALL, "ent_coef": 0.05}),
    "sde": ("MlpPolicy", VECTOR, {"policy_kwargs": {"net_arch": [16, 16]}, "use_sde": True}),
    "expln": (
        "MlpPolicy",
        VECTOR,
        {"policy_kwargs": {**SMALL, "use_expln": True, "log_std_init": 0.1, "clip_mean": 0.0}, "use_sde": True},
    ),
    "cnn": ("CnnPolicy", IMAGE, {"policy_kwargs": {**SMALL, "features_extractor_kwargs": {"features_dim": 32}}}),
    "multi": (
        "MultiInputPolicy",
        spaces.Dict({"a": spaces.Box(-1, 1, (2, 2), np.float32), "image": IMAGE, "z": VECTOR}),
        {"policy_kwargs": {**SMALL, "features_extractor_kwargs": {"cnn_output_dim": 32}}},
    ),
    "vectors": ("MultiInputPolicy", spaces.Dict({"b": VECTOR, "a": VECTOR}), {"policy_kwargs": SMALL}),
}


class Env(gymnasium.Env):
    """Random observations."""

    action_space = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 5], np.float32))

    def __init__(self, observation_space: Any) -> None:
        self.observation_space, self.n = observation_space, 0
        observation_space.seed(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.n = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.n += 1
        return self.observation_space.sample(), float(-np.square(action).sum()), False, self.n >= 20, {}


def batch(model: Any, n: int) -> Any:
    samples = [model.observation_space.sample() for _ in range(n)]
    if isinstance(samples[0], dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return np.stack(samples)


def computed(model: Any) -> dict[str, Any]:
    """What a model computes, before and after a gradient step on one transition, at whose end nothing more is owed."""
    observation = batch(model, 6)
    action, _ = model.predict(observation, deterministic=True)
    noise = np.random.default_rng(0).standard_normal(action.shape).astype(np.float32)
    with torch.no_grad():
        seen, _ = model.policy.obs_to_tensor(observation)
        mean, log_std, more = model.actor.get_action_dist_params(seen)
        distribution = model.actor.action_dist.proba_distribution(mean, log_std, **more)
        sample = torch.tanh(mean + distribution.distribution.scale * torch.from_numpy(noise))
        log_prob = distribution.log_prob(sample)
        values = torch.stack(model.critic(seen, torch.from_numpy(model.policy.scale_action(action))))[..., 0]
    found = {"action": action, "noise": noise, "sample": sample, "log_prob": log_prob, "values": values}
    found |= (
        {f"observation/{k}": v for k, v in observation.items()}
        if isinstance(observation, dict)
        else {"observation/": observation}
    )
    one = {k: v[:1] for k, v in observation.items()} if isinstance(observation, dict) else observation[:1]
    model.replay_buffer.reset()
    for _ in range(4):
        model.replay_buffer.add(one, one, np.full((1, 2), 0.3, np.float32), np.array([2.0]), np.array([True]), [{}])
    model.train(1, batch_size=16)
    found |= {
        f"after/{name}": tensor for name, tensor in model.policy.state_dict().items() if name.startswith("critic")
    }
    return {name: np.asarray(array) for name, array in found.items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    settings = {"learning_starts": 20, "batch_size": 8, "buffer_size": 1000, "seed": 1, "device": "cpu"}
    for name, (policy, space, more) in MODELS.items():
        model = SAC(policy, Env(space), **settings, **more).learn(40)
        model.save(folder / f"{name}.zip")
        np.savez(folder / f"{name}.npz", **computed(model))
    env = VecNormalize(DummyVecEnv([lambda: Env(spaces.Box(-100, 100, (3,), np.float32))]))
    model = SAC("MlpPolicy", env, **settings, policy_kwargs=SMALL).learn(40)
    model.save(folder / "normalized.zip")
    rms = env.obs_rms
    np.savez(
        folder / "vecnormalize.npz",
        mean=rms.mean,
        var=rms.var,
        count=rms.count,
        epsilon=env.epsilon,
        clip_obs=env.clip_obs,
    )
    observation = batch(model, 6)
    action, _ = model.predict(env.normalize_obs(observation), deterministic=True)
    np.savez(folder / "normalized.npz", observation=observation, action=action)
    TD3("MlpPolicy", Env(VECTOR), device="cpu").save(folder / "td3.zip")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
