"""The documentation is true: its examples run, its links lead somewhere, its tables and commands are those of the code.

The examples' trainings are cut short, which changes no line of an example: `learn` makes at most `STEPS` environment
steps, gradient steps begin after at most `UPDATE_AFTER`, a block has at most `GRADIENT_STEPS` of them, networks have 8
units where an example doesn't choose, buffers are small, an evaluation has at most 2 episodes, a search at most 2
trials of 2 evaluations, and what callbacks do every so many steps they do at least every `PERIOD`. So an example's
promises about time and return aren't tested here, but every line of it runs, gradient steps, evaluations and stops
included.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import slc_agents.callbacks as callbacks_module
import slc_agents.evaluation as evaluation_module
import slc_agents.policies as public_policies
from slc_agents import LAC, SAC, buffers, envs, errors, logger, tuning, zoo
from slc_agents.agents.base import Agent
from slc_agents.agents.config import FOREIGN_NAMES
from slc_agents.callbacks.base import Callback, Periodic
from slc_agents.cli.main import build_parser
from slc_agents.compat import sb3, slc
from slc_agents.envs import cart_pole, disturbances, oscillator, velocity_cost
from slc_agents.learner import policy_kwargs
from slc_agents.pytorch import policies
from slc_agents.pytorch.learner import TorchLearner
from slc_agents.training import evaluation
from slc_agents.tuning import Tuner
from tests.support.backends import HAS_TENSORFLOW

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
PAGES = [ROOT / "README.md", *SITE]

STEPS, UPDATE_AFTER, GRADIENT_STEPS, PERIOD = 250, 100, 2, 100


def name_of(page: Path) -> str:
    """A page's path from the checkout's folder."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """A page's code blocks in a language, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """See the top of this file."""
    learn, update, run_episodes, search = Agent.learn, TorchLearner.update, evaluation.run_episodes, Tuner.run
    make, make_periodic, make_tuner = Agent.__init__, Periodic.__init__, Tuner.__init__

    def short_make(self: Any, policy: Any = "MlpPolicy", env: Any = None, config: Any = None, **keywords: Any) -> None:
        make(self, policy, env, config, **keywords)
        changes = {"replay_size": min(self.config.replay_size, 1_000)}
        changes["update_after"] = min(self.config.update_after, UPDATE_AFTER)
        self.config = self.config.replace(**changes)

    def short_learn(self: Any, total_timesteps: int | None = None, *args: Any, **keywords: Any) -> Any:
        return learn(self, min(total_timesteps or STEPS, STEPS), *args, **keywords)

    def short_update(self: Any, memory: Any, n: int) -> None:
        update(self, memory, min(n, GRADIENT_STEPS))

    def short_run(model: Any, env: Any, n_episodes: int, **keywords: Any) -> Any:
        return run_episodes(model, env, min(n_episodes, 2), **keywords)

    def short_make_tuner(self: Any, *args: Any, evaluations: int = 10, **keywords: Any) -> None:
        make_tuner(self, *args, evaluations=min(evaluations, 2), **keywords)

    def short_search(self: Any, trials: int = 50, **keywords: Any) -> Any:
        return search(self, min(trials, 2), **keywords)

    monkeypatch.setattr(Agent, "__init__", short_make)
    monkeypatch.setattr(Tuner, "__init__", short_make_tuner)
    monkeypatch.setattr(Tuner, "run", short_search)
    monkeypatch.setattr(Agent, "learn", short_learn)
    monkeypatch.setattr(TorchLearner, "update", short_update)
    for module in ("agents.base", "callbacks.evaluation", "training.evaluation", "tuning.training"):
        monkeypatch.setattr(f"slc_agents.{module}.run_episodes", short_run)
    monkeypatch.setattr(Periodic, "__init__", lambda self, every: make_periodic(self, min(every, PERIOD)))
    for net in ("actor", "critic"):
        monkeypatch.setitem(policy_kwargs.DEFAULT_HIDDEN_SIZES, net, (8, 8))
    with warnings.catch_warnings():
        # torch announces the end of torch.jit; gymnasium recommends what the agent doesn't need.
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        warnings.filterwarnings(
            "ignore", message=".*(For Box action spaces|A Box observation space)", category=UserWarning
        )
        yield


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
@pytest.mark.usefixtures("short_trainings")
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}  # as in a script: what is saved of it is saved by value
    for line, source in blocks(page, "python"):
        if not HAS_TENSORFLOW and re.search("tensorflow|slc_agents.tf2", source):
            continue
        # Empty lines in front: an error then says the line of the page.
        exec(compile("\n" * line + source, str(page), "exec"), namespace)


@pytest.mark.usefixtures("short_trainings")
def test_shortened_trainings_still_learn() -> None:
    """Otherwise the examples would pass without doing what they show."""
    model = SAC("MlpPolicy", "Pendulum-v1", seed=0)
    before = model.get_parameters()
    model.learn()
    after = model.get_parameters()
    assert model.num_timesteps == STEPS
    assert any((after[name] != before[name]).any() for name in before if name.startswith("actor/"))


def test_examples_leave_nothing_out() -> None:
    languages = {match for page in PAGES for match in re.findall(r"^```(\S+)$", page.read_text("utf-8"), re.MULTILINE)}
    markup = {"{toctree}", "{eval-rst}"}  # of the site
    assert languages - markup <= {"python", "console", "text"}, "another language would be neither run nor checked"


# -- links -------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have on the usual hosts."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{name_of(page)}: {link}"
        assert target.is_relative_to(ROOT), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    for name in re.findall(r"`((?:slc_agents|docs|tests|zoo_configs|benchmarks)/[\w./-]*)`", prose(page)):
        assert (ROOT / name).exists(), f"{name_of(page)}: {name}"
    if page.name == "design.md":  # files there are named from inside the package
        for name in re.findall(r"`(\w+/[\w/]+\.py)`", prose(page)):
            assert (ROOT / name).exists() or (ROOT / "slc_agents" / name).exists(), name


def toctree(page: Path) -> list[Path]:
    """The pages that stand below a page in the site's tree."""
    trees = re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    return [page.parent / f"{name}.md" for name in names]


def test_every_page_is_reached_from_the_index() -> None:
    reached: list[Path] = [DOCS / "index.md"]
    for page in reached:
        reached += toctree(page)
    assert len(set(reached)) == len(reached), "a page stands in the tree twice"
    assert sorted(reached) == SITE


def test_index_links_to_every_page_but_the_reference() -> None:
    """On a code host there is no tree beside the pages."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in SITE if page.parent.name != "api"]
    assert [name for name in pages if f"({name}" not in text and name != "index.md"] == []


def test_images_are_small_and_used() -> None:
    shown = set()
    for page in SITE:
        for link in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            shown.add((page.parent / link).resolve())
    assert shown == set((DOCS / "images").iterdir())
    assert all(image.stat().st_size < 200_000 for image in shown)


def test_a_figure_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(figures)
    monkeypatch.setattr(figures, "IMAGES", tmp_path)
    assert figures.main(["rates"]) == 0
    assert (tmp_path / "learning_rates.svg").read_text("utf-8").count("<path") > 10
    with pytest.raises(SystemExit):
        figures.main(["rate"])
    assert "there is no figure 'rate'" in capsys.readouterr().err


# -- tables ------------------------------------------------------------------------------------------------------------


def second_cells(page: str, header: str) -> dict[str, str]:
    """The second column of the table whose header line begins with `header`, by the names in the first."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(header)) + 2
    rows = [line.split("|") for line in itertools.takewhile(lambda line: line.startswith("|"), lines[start:])]
    assert len({row[1] for row in rows}) == len(rows), "a name stands in the table twice"
    return {row[1].strip().strip("`"): row[2].strip() for row in rows}


def first_cells(page: str, header: str) -> list[str]:
    """The names in the first column of the table whose header line begins with `header`."""
    return list(second_cells(page, header))


def test_generated_tables_are_current() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_table_of_policy_kwargs_has_all() -> None:
    keywords = {**policies.MlpPolicy.__init__.__kwdefaults__}
    del keywords["lyapunov"]  # which the agent says, not the user
    assert first_cells("sac.md", "| key | default |") == list(keywords)
    text = (DOCS / "sac.md").read_text(encoding="utf-8")
    for name, default in keywords.items():
        shown = re.search(rf"^\| `{name}` \| `(.+?)` \|", text, re.MULTILINE)
        assert shown is not None
        assert shown[1].replace('"', "'") == repr(default), name


def test_table_of_policy_kwargs_for_images_has_all() -> None:
    common = policies.MlpPolicy.__init__.__kwdefaults__
    keywords = policies.EncoderPolicy.__init__.__kwdefaults__
    assert {name: keywords[name] for name in common} == common
    own = {name: default for name, default in keywords.items() if name not in common}
    assert first_cells("tutorials/images.md", "| key for images | default |") == list(own)
    text = (DOCS / "tutorials/images.md").read_text(encoding="utf-8")
    for name, default in own.items():
        shown = re.search(rf"^\| `{name}` \| `(.+?)` \|", text, re.MULTILINE)
        assert shown is not None
        assert shown[1] == repr(default), name


def test_table_of_policies_has_all() -> None:
    assert first_cells("tutorials/images.md", "| policy | observations |") == list(policies.POLICIES)


def test_table_of_metrics_has_what_the_log_writes() -> None:
    settings = {"steps_per_epoch": 250, "update_after": 200, "steps_per_update": 1, "num_test_episodes": 1}
    model = SAC("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"hidden_sizes": [8]}, **settings).learn(250)
    assert sorted(first_cells("sac.md", "| key | meaning |")) == sorted(model.logger.latest)


def test_table_of_metrics_of_lac_has_what_it_adds() -> None:
    settings = {"steps_per_epoch": 20, "update_after": 10, "steps_per_update": 1, "num_test_episodes": 0}
    model = LAC("MlpPolicy", "slc/Oscillator-v1", seed=0, policy_kwargs={"hidden_sizes": [8]}, **settings).learn(20)
    own = set(first_cells("lac.md", "| key | meaning |"))
    train = {key for key in model.logger.latest if key.startswith("train/")}
    assert train - own == {"train/alpha_loss", "train/alpha", "train/entropy", "train/n_updates"} | {
        f"train/{rate}" for rate in ("lr_a", "lr_c", "lr_alpha")
    }
    assert own <= train


def test_table_of_callbacks_has_all() -> None:
    public = {name for name in callbacks_module.__all__ if isinstance(getattr(callbacks_module, name), type)}
    assert set(first_cells("tutorials/callbacks.md", "| callback | what it does |")) == public - {Callback.__name__}


def test_table_of_disturbances_has_all() -> None:
    from slc_agents.evaluation.family import NAMES

    listed = first_cells("guide/robustness.md", "| disturbance | what its size is |")
    assert listed == [f"{name}NAME" if name.endswith(":") else name for name in NAMES]


def test_table_of_logger_kwargs_has_all() -> None:
    from slc_agents.logger import LOGGER_KEYS

    assert first_cells("guide/logging.md", "| key of `logger_kwargs`") == list(LOGGER_KEYS)


# Of stable_baselines3 2.9.2.
SB3_ARGUMENTS = (
    *("policy", "env", "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma", "train_freq"),
    *("gradient_steps", "action_noise", "replay_buffer_class", "replay_buffer_kwargs", "optimize_memory_usage"),
    *("n_steps", "ent_coef", "target_update_interval", "target_entropy", "use_sde", "sde_sample_freq"),
    *("use_sde_at_warmup", "stats_window_size", "tensorboard_log", "policy_kwargs", "verbose", "seed", "device"),
    "_init_setup_model",
)
SB3_POLICY_KWARGS = (
    *("net_arch", "activation_fn", "use_sde", "log_std_init", "use_expln", "clip_mean", "features_extractor_class"),
    *("features_extractor_kwargs", "normalize_images", "optimizer_class", "optimizer_kwargs", "n_critics"),
    "share_features_extractor",
)
SB3_METHODS = (
    *("learn", "predict", "save", "load", "save_replay_buffer", "load_replay_buffer", "get_parameters"),
    *("set_parameters", "set_env", "get_env", "get_vec_normalize_env", "set_logger", "set_random_seed", "dump_logs"),
    *("train", "collect_rollouts"),
)
SB3_CALLBACKS = (
    *("BaseCallback", "CallbackList", "CheckpointCallback", "ConvertCallback", "EvalCallback", "EventCallback"),
    *("EveryNTimesteps", "LogEveryNTimesteps", "ProgressBarCallback", "StopTrainingOnMaxEpisodes"),
    *("StopTrainingOnNoModelImprovement", "StopTrainingOnRewardThreshold"),
)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("| argument of `SAC(...)` |", SB3_ARGUMENTS),
        ("| key of `policy_kwargs` |", SB3_POLICY_KWARGS),
        ("| method |", SB3_METHODS),
        ("| callback |", SB3_CALLBACKS),
    ],
    ids=["arguments", "policy_kwargs", "methods", "callbacks"],
)
def test_table_for_stable_baselines3_has_all(header: str, names: tuple[str, ...]) -> None:
    assert first_cells("migration/stable_baselines3.md", header) == list(names)


@pytest.mark.parametrize(
    ("header", "hints", "name"),
    [
        (header, hints, name)
        for header, hints, names in (
            ("| argument of `SAC(...)` |", FOREIGN_NAMES, SB3_ARGUMENTS),
            ("| key of `policy_kwargs` |", policy_kwargs.FOREIGN_NAMES, SB3_POLICY_KWARGS),
        )
        for name in names
        if name in hints
    ],
)
def test_table_for_stable_baselines3_agrees_with_the_errors(header: str, hints: dict[str, str], name: str) -> None:
    """What the error names first is what the table names; where the error says that there is nothing, so does it."""
    here = second_cells("migration/stable_baselines3.md", header)[name]
    named = re.match(r"here it is (\w+)", hints[name])
    if named is not None:
        # Of what the agent does anyway, the error names the nearest thing.
        assert here == "none" or re.search(rf"`{named[1]}[`=]", here)
    elif hints[name].startswith("there is no such thing here"):
        assert here in ("none", "always on")
    else:  # a keyword of some policies
        assert here == f"`{name}`"


def test_table_for_stable_learning_control_has_all() -> None:
    page = "migration/stable_learning_control.md"
    names = first_cells(page, "| parameter of `sac(...)` |")
    assert names == list(inspect.signature(slc.sac).parameters)
    own = inspect.signature(SAC).parameters
    for name, here in second_cells(page, "| parameter of `sac(...)` |").items():
        assert (name if here.startswith("same") else here.strip("`")) in own, name
    given, shared = inspect.signature(slc.lac).parameters, set(names)
    assert first_cells(page, "| parameter of `lac(...)` |") == [name for name in given if name not in shared]


# -- the site ----------------------------------------------------------------------------------------------------------


def check_search(site: Path) -> None:
    written = (site / "searchindex.js").read_text("utf-8").strip()
    index = json.loads(re.sub(r"^Search\.setIndex\((.*)\)$", r"\1", written))
    found = index["terms"]["polyak"]
    assert "sac" in {index["docnames"][i] for i in ([found] if isinstance(found, int) else found)}


def check_reference(site: Path) -> None:
    """Each public name has a place in the reference."""
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    members = [name for name in dir(SAC) if not name.startswith("_") and callable(getattr(SAC, name))]
    wanted = [f"slc_agents.SAC.{name}" for name in members if name != "config_class"]
    aliases = ("CallbackLike", "EnvLike", "EnvWrapper", "Value")
    tasks = (oscillator, cart_pole, velocity_cost, disturbances)
    parts = (callbacks_module, public_policies, errors, buffers, envs, evaluation_module)
    for module in (*parts, *tasks, zoo, tuning, logger, sb3, slc):
        wanted += [f"{module.__name__}.{name}" for name in module.__all__ if name not in aliases]
    assert [name for name in wanted if f'id="{name}"' not in text] == []


def check_network(site: Path) -> None:
    """Nothing that a page needs to be shown comes from elsewhere."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]*src=\"(?:https?:)?//[^\"]+", text) == [], page
        assert re.findall(r"<link[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"(?:https?:)?//", text) == [], page
    assert all(
        "http" not in image.read_text("utf-8").replace("http://www.w3.org", "") for image in site.rglob("console.svg")
    )


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """One test, since building it takes seconds; without pages of source code, which would take a third more."""
    pytest.importorskip("sphinx", reason="the site's builder isn't installed: pip install 'slc-agents[docs]'")
    site = tmp_path / "html"
    extensions = ",".join(
        name for name in runpy.run_path(str(DOCS / "conf.py"))["extensions"] if name != "sphinx.ext.viewcode"
    )
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "doctrees")]
    command += ["-D", f"extensions={extensions}", str(DOCS), str(site)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    check_search(site)
    check_reference(site)
    check_network(site)


# -- commands ----------------------------------------------------------------------------------------------------------


def command_lines(page: Path) -> list[str]:
    lines = [line.removeprefix("$ ") for _, block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line.startswith("slc-agents ")]


@pytest.mark.parametrize("line", [line for page in PAGES for line in command_lines(page)])
def test_command_lines_parse(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    if "--help" in arguments:
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args(arguments)
        assert stop.value.code == 0
        return
    args = build_parser().parse_args(arguments)  # an unknown option or value exits, and says what is wrong
    if getattr(args, "algo", None) is not None:  # not of a run that is resumed
        from slc_agents.agents.loading import agent_class
        from slc_agents.cli.flags import given_hyperparameters

        given = given_hyperparameters(args)
        if "logger_kwargs" in given:  # the command adds the run's folder
            given["logger_kwargs"] = {"output_dir": "runs", **given["logger_kwargs"]}
        agent_class(args.algo).config_class(**given)


def test_readme_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_block = re.search(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert first_block is not None
    assert [line.split("#")[0].strip() for line in first_block[1].splitlines()] == ["make train", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(
            r"^make ([\w-]+)", "\n".join(text for _, text in blocks(page, "console")), re.MULTILINE
        ):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
