"""The page of a report: one file of HTML that needs nothing from elsewhere, no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from slc_agents.agents.config import AgentConfig
from slc_agents.agents.evaluation import score_digits, score_text
from slc_agents.agents.loading import AGENTS
from slc_agents.cli.formatting import count, duration
from slc_agents.cli.html import Markup, join, tag
from slc_agents.cli.launch import Launch
from slc_agents.cli.report_data import Subject
from slc_agents.cli.report_episode import RecordedEpisode
from slc_agents.zoo.configs import DEFAULT_POLICY, POLICY

__all__ = ["Figures", "build_page"]

LOG_LINES = 40
# All that a page may load stands in it: the browser makes sure.
CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


@dataclass(frozen=True)
class Figures:
    """The pictures of a report; a text in the place of one says why it isn't there.

    Attributes:
        curve: The learning curve.
        metrics: What else the log says, by the column's name.
        histogram: Of the evaluation's returns.
        episode: An episode that moves.
        rows: How many rows of the log each point of the curves is.
    """

    curve: Markup | str
    metrics: Mapping[str, Markup] | str
    histogram: Markup | str
    episode: RecordedEpisode | str
    rows: int = 1


def build_page(subject: Subject, figures: Figures, written: str) -> str:
    """Builds the page.

    Args:
        subject: What it is about.
        figures: Its pictures.
        written: When and by what it was written.
    """
    sections = [
        _header(subject),
        _section("Learning curve", _picture(figures.curve, _curve_note(subject, figures.rows))),
        _evaluation(subject, figures.histogram),
        _section("An episode", _episode(subject, figures.episode)),
        _section("Training", _metrics(figures.metrics, figures.rows)),
        _section("Settings", _settings(subject)),
        _section("Where it comes from", _provenance(subject)),
        _log(subject),
        tag("footer", written),
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=CONTENT_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{subject.title}: report"),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *sections)), lang='en')}\n"


def _section(title: str, *content: str | None) -> Markup:
    return tag("section", tag("h2", title), *content)


def _header(subject: Subject) -> Markup:
    first = subject.first
    seeds = [str(run.seed) for run in subject.runs if run.seed is not None]
    steps = [run.steps for run in subject.runs if run.steps is not None]
    seconds = [run.seconds for run in subject.runs if run.seconds is not None]
    facts = {
        "status": subject.outcome,
        "environment steps": f"{max(steps):,}{' each' if subject.is_multi_seed else ''}" if steps else None,
        "seeds" if subject.is_multi_seed else "seed": ", ".join(seeds) or None,
        "wall time": duration(sum(seconds)) if seconds else None,
        "begun": _time(subject.launches[0].started) if subject.launches else None,
        "slc-agents": _versions(subject).get("slc_agents"),
        "git": _git_short(subject.launches[-1].git) if subject.launches else None,
    }
    shown = [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts.items() if value is not None]
    result = _result(subject)
    return tag(
        "header",
        tag("p", "Report of a training", class_="kicker"),
        tag("h1", subject.title),
        tag("p", tag("code", str(subject.folder)), f", {first.plan.policy}" if first.plan is not None else None),
        None if result is None else tag("p", *result, class_="result"),
        tag("dl", *shown, class_="facts"),
    )


def _result(subject: Subject) -> list[str] | None:
    """Returns the one line that says what came out."""
    summary = subject.summary
    if summary is not None:
        over = f"over {count(len(summary['seeds']), 'seed')}"
        if summary["interval"] is None:
            value = f"{summary['mean']:.{score_digits(summary['mean'])}f}"
        else:
            value = score_text(summary)
            low, high = (f"{edge:.{score_digits(summary['mean'])}f}" for edge in summary["interval"])
            over = f"{over}; 95% interval of the mean {low} to {high} (t)"
    elif subject.evaluated:
        evaluation = subject.evaluated[0].evaluation or {}
        value, over = score_text(evaluation), f"over {count(int(evaluation['episodes']), 'episode')}"
    else:
        return None
    return [f"mean {subject.word} ", tag("strong", value), tag("span", f" {over}", class_="muted")]


def _picture(picture: Markup | str, caption: str | None = None) -> Markup:
    if not isinstance(picture, Markup):
        return _missing(picture)
    return tag("figure", picture, None if caption is None else tag("figcaption", caption))


def _missing(why: str) -> Markup:
    return tag("p", why, class_="missing")


def _curve_note(subject: Subject, rows: int) -> str | None:
    logged = [str(run.seed) for run in subject.runs if run.logged is not None]
    some = len(logged) < len(subject.runs)
    notes = [f"Of seed {', '.join(logged)}; the others have no log." if some else None, _rows_note(rows)]
    return " ".join(filter(None, notes)) or None


def _rows_note(rows: int) -> str | None:
    return None if rows == 1 else f"Each point is the mean of {rows} rows of the log."


def _evaluation(subject: Subject, histogram: Markup | str) -> Markup:
    evaluated = subject.evaluated
    if not evaluated:
        return _section("Evaluation", _missing("There is none: `slc-agents train` evaluates when training ends."))
    first = evaluated[0].evaluation or {}
    kind = "deterministic actions" if first.get("deterministic", True) else "sampled actions"
    episodes = sum(int((run.evaluation or {}).get("episodes", 0)) for run in evaluated)
    caption = f"{count(episodes, 'episode')} with {kind}, in an environment of their own, after training."
    table = _seeds_table(subject) if subject.is_multi_seed else _episodes_table(first, subject.word)
    return _section("Evaluation", tag("div", table, _picture(histogram, caption), class_="columns"))


def _episodes_table(evaluation: Mapping[str, Any], word: str) -> Markup:
    """Returns a table of what the episodes were like."""
    rows = []
    for name, values in ((word, evaluation.get("returns")), ("length", evaluation.get("lengths"))):
        if values:
            array = np.asarray(values, np.float64)
            numbers = (array.mean(), array.std(), array.min(), np.median(array), array.max())
            rows.append([name, *(f"{number:,.{score_digits(float(array.mean()))}f}" for number in numbers)])
    return _table(["episodes", "mean", "std", "min", "median", "max"], rows)


def _seeds_table(subject: Subject) -> Markup:
    rows = []
    for run in subject.runs:
        evaluation, steps, seconds = run.evaluation, run.steps, run.seconds
        rows.append(
            [
                str(run.seed),
                "" if evaluation is None else tag("span", score_text(evaluation), class_="whole"),
                "" if steps is None else f"{steps:,}",
                "" if seconds is None else duration(seconds),
                run.outcome,
            ]
        )
    return _table(["seed", f"mean {subject.word}", "steps", "wall time", "status"], rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_="number") for cell in row[1:]))
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def _episode(subject: Subject, episode: RecordedEpisode | str) -> Markup:
    if isinstance(episode, str):
        return _missing(f"No picture: {episode}")
    if episode.is_video:
        picture = tag(
            "video", src=episode.data_uri, controls=True, autoplay=True, loop=True, muted=True, playsinline=True
        )
    else:
        picture = tag("img", src=episode.data_uri, alt="An episode, as an animation")
    whose = f" Of seed {subject.typical.seed}, the one with the median result." if subject.is_multi_seed else ""
    shown = f"{count(episode.steps, 'step')}"
    what = (
        f"The first {shown} of the evaluation's first episode."
        if episode.reward is None
        else f"The evaluation's first episode: {subject.word} {_number(episode.reward)} in {shown}."
    )
    return tag("figure", picture, tag("figcaption", what + whose), class_="episode")


def _metrics(metrics: Mapping[str, Markup] | str, rows: int) -> Markup:
    if isinstance(metrics, str):
        return _missing(metrics)
    if not metrics:
        return _missing("The log has nothing else.")
    panels = [tag("figure", tag("figcaption", name), picture) for name, picture in metrics.items()]
    note = _rows_note(rows)
    return join(tag("div", *panels, class_="panels"), None if note is None else tag("p", note, class_="muted"))


def _settings(subject: Subject) -> Markup:
    """Returns a table of hyperparameters: first those that are not the defaults, the rest folded away."""
    settings = dict(subject.first.settings)
    if not settings:
        return _missing("They are not recorded here.")
    if subject.is_multi_seed:
        settings["seed"] = [run.seed for run in subject.runs]
    config_class = AGENTS[subject.first.algo].config_class if subject.first.algo in AGENTS else None
    defaults = {POLICY: DEFAULT_POLICY} | ({} if config_class is None else _defaults(config_class))
    texts = {POLICY: "Class of the networks."} | ({} if config_class is None else config_class.descriptions())
    changed: list[Markup] = []
    rest: list[Markup] = []
    for name, value in settings.items():
        differs = name not in defaults or defaults[name] != value
        default = _plain_yaml(defaults[name]) if name in defaults and differs else ""
        cells = [tag("th", tag("code", name), scope="row"), tag("td", tag("code", _plain_yaml(value)))]
        cells += [tag("td", tag("code", default) if default else None)] if differs else []
        cells += [tag("td", *_with_code(texts.get(name, "")), class_="muted")]
        (changed if differs else rest).append(tag("tr", *cells, class_="changed" if differs else None))
    parts = [_settings_table(["name", "value", "default", "what it does"], changed)]
    if not changed:
        parts = [tag("p", "All of them have their defaults.")]
    if rest:
        more = tag(
            "summary",
            f"{count(len(rest), 'more setting')}, with {'its default' if len(rest) == 1 else 'their defaults'}",
        )
        parts.append(tag("details", more, _settings_table(["name", "value", "what it does"], rest)))
    return join(*parts)


def _settings_table(names: Sequence[str], rows: Sequence[Markup]) -> Markup:
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    return tag("div", tag("table", head, tag("tbody", *rows), class_="settings"), class_="scroll")


def _defaults(config_class: type[AgentConfig]) -> dict[str, Any]:
    """Returns the default of each hyperparameter, as a file of settings has it."""
    defaults = {keyword.name: keyword.default for keyword in config_class.keywords()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


def _with_code(text: str) -> list[str]:
    """Splits a text, in which code stands between backticks."""
    parts = text.split("`")
    return [tag("code", part) if i % 2 else part for i, part in enumerate(parts)]


def _provenance(subject: Subject) -> Markup:
    """Says by which commands, when, where, and with what it was made."""
    rows: list[tuple[str, str | Markup]] = []
    if subject.command is not None:
        rows.append(("command", _command(subject.command)))
    versions = _versions(subject)
    rows += [("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))] if versions else []
    if subject.launches:
        last = subject.launches[-1]
        machine = last.machine
        rows += [
            ("platform", str(machine.get("platform", "not recorded"))),
            ("processor", f"{machine.get('processor', 'not recorded')}, {machine.get('cpu_count', '?')} usable"),
            ("git", _git(last.git)),
        ]
    if not rows:
        return _missing("Not recorded here.")
    table = tag(
        "table", tag("tbody", *(tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows))
    )
    parts = [tag("div", table, class_="scroll")]
    if subject.launches:
        launches = [_launch_row(launch) for launch in subject.launches]
        parts += [tag("h3", "Launches"), _table(["begun", "ended", "wall time", "outcome", "command"], launches)]
    return join(*parts)


def _launch_row(launch: Launch) -> list[str]:
    return [
        tag("span", _time(launch.started), class_="whole"),
        "" if launch.ended is None else tag("span", _time(launch.ended), class_="whole"),
        "" if launch.seconds is None else duration(launch.seconds),
        launch.outcome or "running, or killed",
        _command(launch.command),
    ]


def _command(text: str) -> Markup:
    """Returns a command line that breaks between its words alone, for `--` would break too."""
    words = [join(tag("span", word), " ") for word in text.split(" ")]
    return tag("code", *words, class_="command")


def _versions(subject: Subject) -> dict[str, str]:
    """Returns those of the last launch, of a seed's where it has none, or those in the agent's file."""
    places = [launch.versions for launch in reversed(subject.launches)]
    for run in subject.runs:
        places += [launch.versions for launch in reversed(run.plan.launches)] if run.plan is not None else []
        places.append(run.manifest.get("versions") or {})
    return next((dict(versions) for versions in places if versions), {})


def _git(git: Mapping[str, Any]) -> str:
    if "commit" not in git:
        return str(git.get("problem", "not recorded"))
    branch = "no branch" if git.get("branch") is None else f"branch {git['branch']}"
    state = "with changes that are not committed" if git.get("dirty") else "as committed"
    return f"{git['commit'] or 'no commit yet'}, {branch}, {state}"


def _git_short(git: Mapping[str, Any]) -> str | None:
    commit = git.get("commit")
    return None if commit is None else f"{str(commit)[:10]}{', changed' if git.get('dirty') else ''}"


def _log(subject: Subject) -> Markup | None:
    """Shows the end of what the runs said; opened where one has failed."""
    parts = []
    for run in subject.runs:
        lines = run.last_lines(LOG_LINES)
        if lines:
            name = f"log of seed {run.seed}" if subject.is_multi_seed else "log"
            failed = run.outcome.startswith("failed")
            parts.append(
                tag("details", tag("summary", f"End of the {name}"), tag("pre", "\n".join(lines)), open=failed)
            )
    return _section("Log", *parts) if parts else None


def _plain_yaml(value: Any) -> str:
    """Returns a value as a file of settings has it, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip()


def _number(value: float) -> str:
    return f"{value:,.{score_digits(value)}f}"


def _time(text: str) -> str:
    """Returns a time as it is read, to the minute, where it was taken: `2026-01-31 12:00`."""
    return text[:16].replace("T", " ")


STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #5d6772; --paper: #ffffff; --card: #f5f7f9; --line: #dfe4e9;
  --mark: #b35900; --grid: #e1e5ea; --faint: #9aa3ad; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8588d;
  --c4: #b87f00; --c5: #3a9bd6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --muted: #9aa5b1; --paper: #14171a; --card: #1d2125;
  --line: #343b42; --mark: #ffab5c; --grid: #2e353b; --faint: #77818b; --c0: #5ab4ec; --c1: #ff8f4a; --c2: #3ccfa2;
  --c3: #e29cc6; --c4: #f0b93a; --c5: #8fd0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 0 0 .8rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; } p { margin: .3rem 0; }
section { margin-top: 2.2rem; padding-top: 1.4rem; border-top: 1px solid var(--line); }
.kicker, .muted, figcaption, footer, dt { color: var(--muted); } .kicker { font-size: .85rem; }
.result { font-size: 1.15rem; margin: 1rem 0; } .result strong { font-size: 1.6rem; white-space: nowrap; }
.result .muted { font-size: .95rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .6rem; margin: 1rem 0 0; }
.facts div { background: var(--card); border-radius: 8px; padding: .55rem .7rem; min-width: 0; }
dt { font-size: .8rem; } dd { margin: 0; font-weight: 600; font-size: .9rem; overflow-wrap: anywhere; }
code, pre { font: .88em/1.5 ui-monospace, monospace; overflow-wrap: break-word; }
.command span, .whole { white-space: nowrap; }
pre { background: var(--card); padding: .8rem; border-radius: 8px; overflow-x: auto; white-space: pre; }
figure { margin: 0; } figcaption { font-size: .87rem; margin: .3rem 0; }
svg { display: block; width: 100%; height: auto; color: var(--ink); } svg text { font-family: inherit !important; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 1.5rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 1.2rem; }
.panels figcaption { font: .85rem ui-monospace, monospace; color: var(--ink); }
.episode video, .episode img { max-width: 100%; max-height: 480px; border-radius: 8px; display: block; }
.missing { color: var(--muted); background: var(--card); border-radius: 8px; padding: .7rem .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 500; } tbody th { font-weight: 500; white-space: nowrap; }
.number { font-variant-numeric: tabular-nums; } .settings td:nth-child(2) { min-width: 7rem; }
.changed td:nth-child(2) code { color: var(--mark); font-weight: 700; } .settings .muted { font-size: .87rem; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--muted); }
footer { margin-top: 2.5rem; font-size: .85rem; }
@media print { details { display: none; } section { break-inside: avoid; } }
"""
