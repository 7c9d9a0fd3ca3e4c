"""`slc-agents report`: a run as a page, with all that is known of it, and nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slc_agents import SACConfig
from slc_agents.cli import report, report_episode, report_figures
from slc_agents.cli.curves import LoggedRun
from slc_agents.cli.launch import Launch
from slc_agents.cli.multi_seed import MultiSeedPlan
from slc_agents.cli.report_episode import RecordedEpisode
from slc_agents.cli.run_folder import RunPlan
from slc_agents.errors import RenderError
from slc_agents.logger import CsvSink
from slc_agents.persistence import write_archive

Command = Callable[..., Any]
HOSTILE = "<script>alert('x')</script>&\"$"
VOID = {"br", "hr", "img", "meta", "use", "path", "rect"}


class Page(HTMLParser):
    """A page, read as a browser would."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or tag in ("path", "rect", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += f" {data}"

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def check_page(page: Page) -> None:
    """What holds for every report: it is whole, runs nothing and loads nothing."""
    assert len(page.source) < 3_000_000
    assert page.source.startswith("<!DOCTYPE html>")
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], (name, attributes)
        for key in ("src", "href", "xlink:href", "srcset", "data"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:")), (name, value)
    assert re.findall(r"url\((?!#)", page.source) == []
    assert "@import" not in page.source
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    policy = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy[0]).startswith("default-src 'none'")


def check_colours(page: Page) -> None:
    """Figures take the page's colours, which there are for light and dark."""
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    svgs = page.source.partition("</style>")[2]
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", svgs))
    assert {"--c0", "--c1", "--grid"} <= used
    light, dark = style.split("prefers-color-scheme: dark")
    assert all(f"{name}:" in light and f"{name}:" in dark for name in used)
    assert "currentColor" in svgs
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", svgs)) <= {"#ffffff"}


def make_run(name: str, *, seed: int = 0, rows: int = 5, mean: float = -100.0, finished: bool = True) -> Path:
    """A run folder as `train` leaves it, without an agent that could act."""
    folder = Path(name)
    sink = CsvSink(folder / "progress.csv")
    for epoch in range(1, rows + 1):
        sink.write(
            {
                "time/total_timesteps": 10 * epoch,
                "time/time_elapsed": 2.0 * epoch,
                "eval/mean_reward": mean + epoch,
                "eval/std_reward": 1.0,
                "train/alpha": 1 / epoch,
                "train/lr_a": 1e-3,
                "train/lr_c": 1e-4,
                f"my/{HOSTILE}": float(epoch),
            },
            10 * epoch,
        )
    config = SACConfig(seed=seed, gamma=0.5, logger_kwargs={"output_dir": name}).to_dict()
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    counters = {"num_timesteps": 10 * rows, "num_episodes": 1, "n_updates": 1, "env_resets": 1}
    manifest = {"class": "SAC", "env_id": "Nowhere-v0", "counters": counters}
    write_archive(folder / "agent.zip", manifest, tensors={"x": np.zeros(1, np.float32)})
    launch = Launch(
        f"slc-agents train sac Nowhere-v0 --x {HOSTILE}",
        "/",
        "2026-01-31T12:00:00+01:00",
        {"slc_agents": "0.1", "torch": "2.99"},
        {"platform": "Linux-9", "processor": "Abacus", "cpu_count": 4},
        {"commit": "0123456789abcdef", "branch": HOSTILE, "dirty": True},
    )
    plan = RunPlan("sac", "Nowhere-v0", "MlpPolicy", 10 * rows, 2, None, 60.0, config, command=launch.command)
    plan = plan.begin_launch(launch)
    (plan.end_launch("finished", 75.0) if finished else plan.end_launch("failed: it <broke>", 3.0)).write(folder)
    if finished:
        returns, lengths = [mean - 2, mean + 2], [9, 11]
        evaluation = {"mean": mean, "std": 2.0, "episodes": 2, "returns": returns, "lengths": lengths}
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "log.txt").write_text(f"2026-01-31 12:00:00  {HOSTILE}\n")
    return folder


def make_seeds(name: str, means: list[float]) -> Path:
    for seed, mean in enumerate(means):
        make_run(f"{name}/seed-{seed}", seed=seed, mean=mean)
    MultiSeedPlan({seed: f"seed-{seed}" for seed in range(len(means))}, 1, "1").write(Path(name))
    return Path(name)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take most of the time."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_run(command: Command) -> None:
    make_run("x")
    code, out, err = command("report", "x", "--no-video", "--out", "sub/page.html")
    assert (code, out, err) == (0, "report: sub/page.html\n", "")
    page = Page(Path("sub/page.html"))
    check_page(page)
    assert "<script>" not in page.source
    for text in (
        "SAC on Nowhere-v0",
        "mean return -100.0 ± 2.0 over 2 episodes",
        "status finished",
        "environment steps 50",
        "seed 0",
        "wall time 0:01:15",
        "begun 2026-01-31 12:00",
        "git 0123456789, changed",
        "return -100.0 2.0 -102.0 -100.0 -98.0",
        "length 10.0 1.0 9.0 10.0 11.0",
        "slc_agents 0.1, torch 2.99",
        "Linux-9",
        "Abacus, 4 usable",
        f"0123456789abcdef, branch {HOSTILE}, with changes that are not committed",
        "gamma 0.5 0.99 Discount factor.",
        f"my/{HOSTILE}",
        f"2026-01-31 12:00:00 {HOSTILE}",
        "No picture: it was not asked for (--no-video)",
    ):
        assert text in page.text, text
    changed = page.source[page.source.index("<h2>Settings") : page.source.index("<details>")]
    assert re.findall(r"<th scope=\"row\"><code>(\w+)", changed) == ["gamma", "seed", "logger_kwargs"]
    labels = [svg["aria-label"] for svg in page.named("svg")]
    assert labels == ["Learning curve", "Histogram of returns", "train/alpha", f"my/{HOSTILE}", "learning rates"]
    check_colours(page)


def test_several_seeds(command: Command) -> None:
    make_seeds("x", [-100.0, -70.0, -400.0])
    make_run("y", seed=2, finished=False)
    Path("x/seed-2").rename("z")
    Path("y").rename("x/seed-2")
    Path("x/seed-1/progress.csv").unlink()
    command("report", "x", "--no-video")
    page = Page(Path("x/report.html"))
    check_page(page)
    for text in (
        "mean return -85.0 ± 21.2 over 2 seeds; 95% interval of the mean -275.6 to 105.6 (t)",
        "status 2 of 3 seeds finished",
        "environment steps 50 each",
        "wall time 0:02:33",
        "0 -100.0 ± 2.0 50 0:01:15 finished",
        "failed: it <broke>",
        "4 episodes with deterministic actions",
        "Of seed 0, 2; the others have no log.",
    ):
        assert text in page.text, text
    assert [details.get("open", "no") for details in page.named("details")][1:] == ["no", "no", None]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", [["run.json", "log.txt"], ["progress.csv"], ["agent.zip"], ["evaluation.json"]])
def test_what_is_not_there_is_not_said(command: Command, missing: list[str]) -> None:
    folder = make_run("x")
    for name in missing:
        (folder / name).unlink()
    code, _, err = command("report", "x")
    assert (code, err) == (0, "")
    page = Page(folder / "report.html")
    check_page(page)
    expected = {
        "run.json": "status not recorded",
        "progress.csv": "There is no log yet",
        "agent.zip": "No picture: no agent has been saved yet",
        "evaluation.json": "There is none: `slc-agents train` evaluates",
    }
    assert expected[missing[0]] in page.text
    if missing != ["agent.zip"]:
        assert "No picture: x/agent.zip: it lacks 'policy'" in page.text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("evaluation", ['{"mean": -1.0}', '{"mean": null, "std": 1.0, "episodes": 2}', "[-1.0]", "{"])
def test_an_evaluation_that_cannot_be_read_is_none(command: Command, evaluation: str) -> None:
    folder = make_run("x")
    (folder / "evaluation.json").write_text(evaluation)
    code, _, err = command("report", "x", "--no-video")
    assert (code, err) == (0, "")
    assert "There is none: `slc-agents train` evaluates" in Page(folder / "report.html").text


@pytest.mark.usefixtures("undrawn")
def test_without_matplotlib(command: Command) -> None:
    make_run("x")
    assert command("report", "x", "--no-video").code == 0
    page = Page(Path("x/report.html"))
    check_page(page)
    assert page.text.count("pip install 'slc-agents[plot]'") == 3
    assert "mean return -100.0 ± 2.0" in page.text


def test_an_episode_of_the_real_thing(command: Command, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(report_episode, "MAX_STEPS", 5)
    assert command("report", small_run).code == 0
    page = Page(small_run / "report.html")
    check_page(page)
    (video,) = page.named("video")
    content = base64.b64decode(str(video["src"]).removeprefix("data:video/mp4;base64,"))
    assert content[4:8] == b"ftyp"
    assert "The first 5 steps of the evaluation's first episode." in page.text
    # Half as wide and high, then cut; without ffmpeg, a GIF.
    monkeypatch.setattr(report_episode, "MAX_BYTES", 3_000)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(report_episode, "MAX_STEPS", 20)
    episode = report_episode.record_episode(small_run, "Pendulum-v1", trust=False)
    assert not episode.is_video
    content = base64.b64decode(episode.data_uri.removeprefix("data:image/gif;base64,"))
    assert content[:3] == b"GIF"
    assert int.from_bytes(content[6:8], "little") == 250
    assert (1 <= episode.steps < 20, episode.reward) == (True, None)


@pytest.mark.usefixtures("undrawn")
def test_an_episode_that_is_all_of_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make_seeds("x", [-100.0, -70.0, -400.0])
    asked: list[tuple[str, str, bool]] = []

    def record(folder: Path, env_id: str, *, trust: bool) -> RecordedEpisode:
        asked.append((folder.name, env_id, trust))
        if len(asked) > 1:
            raise RenderError("no <screen>")
        return RecordedEpisode("data:image/gif;base64,AA==", False, 12, -98.0)

    monkeypatch.setattr(report, "record_episode", record)
    command("report", "x", "--trust")
    page = Page(Path("x/report.html"))
    check_page(page)
    assert asked == [("seed-0", "Nowhere-v0", True)]
    assert page.named("img")[0]["src"] == "data:image/gif;base64,AA=="
    said = "The evaluation's first episode: return -98.0 in 12 steps. Of seed 0, the one with the median result."
    assert said in page.text
    command("report", "x")
    page = Page(Path("x/report.html"))
    assert "No picture: no <screen>" in page.text
    assert page.named("img") == []


def test_long_logs_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_figures, "MAX_POINTS", 2)
    columns = {"a": np.array([1.0, 3.0, np.nan, 5.0, 7.0]), "b": np.full(5, np.nan)}
    thinned, rows = report_figures.thin(LoggedRun(Path(), columns))
    assert rows == 3
    np.testing.assert_array_equal(thinned.columns["a"], [2.0, 6.0])
    assert np.isnan(thinned.columns["b"]).all()
    short = LoggedRun(Path(), {"a": np.zeros(2)})
    assert report_figures.thin(short) == (short, 1)


def test_a_picture_is_shrunk_by_means() -> None:
    frame = np.zeros((5, 4, 3), np.uint8)
    frame[:2, :2] = [[[10, 0, 0], [20, 0, 0]], [[30, 0, 0], [40, 0, 0]]]
    small = report_episode._shrunk(frame, 2)
    assert small.shape == (2, 2, 3)
    assert small.dtype == np.uint8
    assert small[..., 0].tolist() == [[25, 0], [0, 0]]
