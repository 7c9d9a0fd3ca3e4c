"""Closes the loop between an exported policy and the plant. slc_agents isn't needed: torch, gymnasium and NumPy are.

    python run_policy.py policy.pt [EPISODES]

It is a program for whoever has the file alone.
"""

import sys

import gymnasium as gym
import numpy as np
import torch


def main() -> None:
    """Prints the mean cost of some episodes, 100 by default, and how many of them ended on the floor."""
    policy = torch.jit.load(sys.argv[1])
    n_episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    env = gym.make("ball_and_beam:BallAndBeam-v0")
    costs, deaths = [], 0
    for seed in range(n_episodes):
        observation, _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            with torch.inference_mode():
                angle = policy(torch.from_numpy(observation[None])).numpy()[0]
            observation, cost, terminated, truncated, _ = env.step(angle)
            total, deaths, ended = total + cost, deaths + terminated, terminated or truncated
        costs.append(total)
    print(f"cost {np.mean(costs):.2f}, {deaths} of {len(costs)} episodes ended on the floor")
    if "slc_agents" in sys.modules:
        raise RuntimeError("slc_agents was imported")


if __name__ == "__main__":
    main()
