"""Compares what was trained on the ball and beam with LQR: in peace, and under disturbances that training didn't have.

    slc-agents train lac ball_and_beam:BallAndBeam-v0 --config lac.yaml --seeds 0..2 --out runs/lac
    slc-agents train sac ball_and_beam:BallAndBeam-v0 --config sac.yaml --seeds 0..2 --out runs/sac
    python compare.py runs/lac runs/sac

It prints a table in Markdown, and draws two figures of what a delay does: ball_delay.svg and ball_errors.svg.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ball_and_beam import LQR, BallAndBeam
from matplotlib.figure import Figure

from slc_agents.evaluation import RobustnessResult, evaluate_robustness, named_disturbance

SENSORS = [0.1, 1.0, 0.0, 0.0, 0.1]  # noise of 0.1 m/s on the rate goes with 0.01 m on the position and on the error
DELAYS = [0, 1, 2, 3, 4]
DISTURBANCES = {
    "none": ("action-bias", [0.0]),
    "servo's lag, times": ("parameter:lag", [2.0, 3.0]),
    "delay, in steps": ("action-delay", [1, 2, 4]),
    "beam not level, rad": ("action-bias", [0.01, 0.03]),
    "hollow ball, J / mR² times": ("parameter:inertia", [1.6667]),
    "sensor noise, m/s": (named_disturbance("observation-noise", parts=SENSORS), [0.1, 0.3]),
}


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare runs on the ball and beam with LQR.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of one seed or several")
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args()
    agents = {"LQR": LQR(BallAndBeam()), **{run.name.upper(): models(run) for run in options.runs}}
    print(f"| disturbance | size | {' | '.join(f'{name}: cost | deaths' for name in agents)} |")
    print(f"|{'---|' * (2 + 2 * len(agents))}")
    for name, (disturbance, sizes) in DISTURBANCES.items():
        result = evaluate_robustness(
            agents, disturbance, sizes, env="BallAndBeam-v0", n_episodes=options.episodes, opt_type="minimize"
        )
        rows = {(row["agent"], row["size"]): row for row in result.rows()}
        for size in sizes:
            found = [rows[agent, float(size)] for agent in agents]
            cells = [
                f"{row['cost']:.1f} ({row['cost_low']:.1f} to {row['cost_high']:.1f}) | {row['death_rate']:.0%}"
                for row in found
            ]
            print(f"| {name} | {size:g} | {' | '.join(cells)} |")
    delayed = evaluate_robustness(
        agents, "action-delay", DELAYS, env="BallAndBeam-v0", n_episodes=options.episodes, opt_type="minimize"
    )
    delayed.draw().savefig("ball_delay.svg", bbox_inches="tight", metadata={"Date": None})
    draw_errors(delayed).savefig("ball_errors.svg", bbox_inches="tight", metadata={"Date": None})
    return 0


def draw_errors(result: RobustnessResult) -> Figure:
    """Draws how far the ball is from its target, over time."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, size in zip(figure.subplots(1, 2, sharey=True), (0.0, 2.0), strict=True):
        for agent in result.agents:
            outcome = result.outcome(agent, size)
            error = np.nanmean(np.abs(outcome.states - outcome.references), axis=0)  # over seeds and episodes
            axes.plot(np.arange(len(error)) * BallAndBeam.dt, 100 * error, label=agent)
        axes.set(xlabel="time, s", title=f"a delay of {size:g} steps", xlim=(0, 6), yscale="log", ylim=(0.5, 30))
    figure.axes[0].set_ylabel("mean distance, cm")
    figure.axes[0].legend()
    return figure


def models(run: Path) -> list[Path]:
    """Returns the run folders of all seeds."""
    return sorted(run.glob("seed-*")) or [run]


if __name__ == "__main__":
    sys.exit(main())
