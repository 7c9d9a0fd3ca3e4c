"""Draws the documentation's figures into docs/images/.

    python docs/figures.py               # all of them, in a few minutes
    python docs/figures.py loop rates    # some of them

The same machine draws the same files again: seeds are fixed, and nothing in a file says when it was made. What is drawn
of a training comes from a real one, which is run for it.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # the checkout's own package, installed or not
IMAGES = DOCS / "images"

import gymnasium as gym  # noqa: E402
import matplotlib as mpl  # noqa: E402

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402

from slc_agents import LAC, zoo  # noqa: E402
from slc_agents.evaluation import evaluate_robustness, measure_stability  # noqa: E402
from slc_agents.logger import ConsoleSink, read_progress  # noqa: E402
from slc_agents.schedulers import ConstantScheduler, ExponentialScheduler, LinearScheduler  # noqa: E402

BLUE, ORANGE, GREEN, GREY = "#2a6fbb", "#d9782d", "#3a8f5c", "#666666"
mpl.rcParams.update({
    "svg.hashsalt": "slc_agents",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
})  # fmt: skip


def save(figure: Any, name: str) -> None:
    """Writes a figure, without the date that it was made on."""
    figure.savefig(IMAGES / name, bbox_inches="tight", metadata={"Date": None} if name.endswith(".svg") else None)
    plt.close(figure)


def draw_rates() -> None:
    """The three learning-rate schedules, from 1e-3 to 1e-5."""
    progress = np.linspace(0.0, 1.0, 200)
    schedules = {
        "constant": (ConstantScheduler(1e-3), GREEN),
        "linear": (LinearScheduler(1e-3, 1e-5), BLUE),
        "exponential": (ExponentialScheduler(1e-3, 1e-5), ORANGE),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    for axes, scale in ((left, "linear"), (right, "log")):
        for name, (schedule, colour) in schedules.items():
            axes.plot(progress, [schedule(p) for p in progress], color=colour, label=name, linewidth=2)
        axes.set(xlabel="progress of the run", yscale=scale, xlim=(0, 1))
    left.set_ylabel("learning rate")
    right.legend(frameon=False)
    save(figure, "learning_rates.svg")


def draw_loop() -> None:
    """What an agent is composed of, and what goes round between the parts."""
    figure, axes = plt.subplots(figsize=(8, 4.1))
    axes.set(xlim=(0, 100), ylim=(0, 52))
    axes.axis("off")

    def box(x: float, y: float, title: str, text: str, colour: str) -> None:
        axes.add_patch(
            FancyBboxPatch((x, y), 22, 11, boxstyle="round,pad=0.6", linewidth=1.5, edgecolor=colour, facecolor="white")
        )
        axes.text(x + 11, y + 8.4, title, ha="center", va="center", weight="bold", color=colour)
        axes.text(x + 11, y + 3.4, text, ha="center", va="center", fontsize=8, color=GREY)

    def arrow(start: tuple[float, float], end: tuple[float, float], text: str, at: tuple[float, float]) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4})
        axes.text(*at, text, ha="center", va="center", fontsize=8.5, color="black", backgroundcolor="white")

    box(3, 37, "Environments", "n in parallel", GREEN)
    box(39, 37, "Loop", "act, step, learn,\nreport, save", BLUE)
    box(75, 37, "Replay buffer", "the last transitions", GREEN)
    box(3, 4, "Callbacks, log", "your code,\na row an epoch", GREY)
    box(39, 4, "Learner", "actor, critics,\ntemperature", ORANGE)
    box(75, 4, "Schedules", "a learning rate each", GREY)
    arrow((38, 45), (26.5, 45), "actions", (32, 47.6))
    arrow((26.5, 40), (38, 40), "o, r, ends", (32, 37.2))
    arrow((62.5, 42.5), (74, 42.5), "transitions", (68.2, 45.2))
    arrow((47, 36), (47, 16.5), "act(o)", (42, 29))
    arrow((53, 16.5), (53, 36), "actions in [-1, 1]", (63, 31))
    arrow((84, 36), (62.5, 13.5), "minibatches", (80, 24.5))
    arrow((74, 9), (62.5, 9), "rates", (68.2, 6.5))
    arrow((40, 36), (22, 16.5), "hooks, metrics", (27, 27))
    save(figure, "loop.svg")


def draw_pendulum() -> None:
    """A learning curve of the zoo's settings, and what the last rows look like in a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        logger_kwargs = {"output_dir": folder}
        model = zoo.make("sac", "Pendulum-v1", seed=0, logger_kwargs=logger_kwargs)
        model.learn()
        progress = read_progress(folder)
        row = dict(model.logger.latest)
        _draw_console(row, model.num_timesteps)
        _draw_curve(progress)
        _draw_frames(model)


def _draw_curve(progress: dict[str, list[float]]) -> None:
    steps, mean = np.array(progress["time/total_timesteps"]), np.array(progress["eval/mean_reward"])
    spread = np.array(progress["eval/std_reward"])
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.fill_between(steps, mean - spread, mean + spread, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(steps, mean, "o-", color=BLUE, label="test episodes, deterministic")
    axes.plot(steps, progress["rollout/ep_rew_mean"], color=ORANGE, label="training, last 100 episodes")
    axes.set(xlabel="environment steps", ylabel="return", xlim=(0, None))
    axes.legend(frameon=False, loc="lower right")
    save(figure, "pendulum_curve.svg")


def _draw_console(row: dict[str, Any], step: int) -> None:
    from rich.console import Console

    # What depends on the day and the machine would make another file of it each time.
    row = {key: value for key, value in row.items() if key not in ("time/time_elapsed", "time/fps")}
    console = Console(record=True, width=34, file=io.StringIO())
    ConsoleSink(console).write(row, step)
    # rich's own frame fetches a font from the web; any monospaced one will do.
    frame = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
    svg = console.export_svg(title="verbose=1", code_format=frame, unique_id="console")
    (IMAGES / "console.svg").write_text(svg, encoding="utf-8")


def _draw_frames(model: Any) -> None:
    env = gym.make("Pendulum-v1", render_mode="rgb_array")
    observation, _ = env.reset(seed=3)
    frames = []
    for step in range(101):
        if step % 20 == 0:
            frames.append((step, env.render()))
        action, _ = model.predict(observation, deterministic=True)
        observation, *_ = env.step(action)
    env.close()
    figure, plots = plt.subplots(1, len(frames), figsize=(8, 1.65), layout="constrained")
    for axes, (step, frame) in zip(plots, frames, strict=True):
        axes.imshow(frame[110:390, 110:390])  # the rest of it is white
        axes.set_title(f"step {step}", fontsize=9)
        axes.axis("off")
    save(figure, "pendulum_frames.png")


class Proportional:
    """Shines light on the oscillator's first gene where its protein is below the reference."""

    def predict(self, observation: Any, state: Any = None, *args: Any) -> tuple[Any, Any]:
        """Returns the light for observations [n, 8], the last of which is the protein minus the reference."""
        light = np.zeros((len(observation), 3), np.float32)
        light[:, 0] = np.clip(-0.1 * observation[:, 7], 0.0, 1.0)
        return light, state


def draw_robustness() -> None:
    """LAC after a short training, beside a proportional controller, under impulses; and its Lyapunov function."""
    model = LAC(
        "MlpPolicy",
        "slc/Oscillator-v1",
        alpha3=1.0,
        horizon_length=5,
        policy_kwargs={"hidden_sizes": [64, 64]},
        steps_per_epoch=2_000,
        num_test_episodes=0,
        seed=1,
    ).learn(12_000)
    result = evaluate_robustness({"LAC": model, "proportional": Proportional()}, "action-impulse")
    save(result.draw(), "robustness.svg")
    save(result.draw_trajectories(), "trajectories.png")
    save(measure_stability(model).draw(), "stability.png")


FIGURES = {"rates": draw_rates, "loop": draw_loop, "pendulum": draw_pendulum, "robustness": draw_robustness}


def main(argv: list[str] | None = None) -> int:
    """Draws figures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Draw the documentation's figures into docs/images/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which, of {', '.join(FIGURES)} (default: all)")
    names = parser.parse_args(argv).names or list(FIGURES)
    unknown = sorted(set(names) - set(FIGURES))
    if unknown:
        parser.error(f"there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    IMAGES.mkdir(exist_ok=True)
    for name in names:
        FIGURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
