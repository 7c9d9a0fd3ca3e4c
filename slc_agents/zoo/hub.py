"""Agents on the Hugging Face hub: sent there with a card that says what they are, and loaded from there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import slc_agents
from slc_agents.errors import HubError, require
from slc_agents.zoo.configs import POLICY
from slc_agents.zoo.packing import EPISODES, pack_agent

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.envs import EnvLike

__all__ = ["load_from_hub", "push_to_hub"]

LIBRARY = "slc-agents"
CARD_FILE = "README.md"  # what the hub shows


def push_to_hub(
    source: str | os.PathLike[str] | Agent[Any],
    repo_id: str,
    *,
    env: EnvLike | None = None,
    episodes: int = EPISODES,
    seed: int | None = None,
    trust: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Evaluates an agent and sends it to the Hugging Face hub: a packed file, its settings, and a card.

    The repository is made if it isn't there; files of these names are replaced, others stay. The card says what the
    agent was trained in, with which settings and for how long, what its evaluation gave, and how to load it.

    Args:
        source: As in `pack_agent`: a run folder, an agent's file or an agent.
        repo_id: `user/name` of the repository.
        env: As in `pack_agent`.
        episodes: As in `pack_agent`.
        seed: As in `pack_agent`.
        trust: As in `pack_agent`.
        private: Whether a new repository is private; None: as the account has it.
        revision: Branch to send to; None: the main one.
        token: Access token; None: the one that `hf auth login` has stored.
        commit_message: What the repository's history says of it; None: what it is.

    Returns:
        The repository's address.

    Raises:
        MissingDependencyError: If huggingface_hub is not installed.
        HubError: If the hub refuses or can't be reached.
    """
    from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
    from slc_agents.persistence import read_archive

    library = _library()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = pack_agent(source, folder / AGENT_FILE, env=env, episodes=episodes, seed=seed, trust=trust)
        with read_archive(packed) as archive:
            manifest, needs_trust = archive.manifest, archive.has_code
        (folder / CONFIG_FILE).write_text(_settings(manifest), encoding="utf-8")
        with _hub_errors(f"repo_id={repo_id!r}"):
            api = library.HfApi(token=token, library_name=LIBRARY, library_version=slc_agents.__version__)
            repository = api.create_repo(repo_id, private=private, exist_ok=True)
        # Of a name without a user, only the hub knows whose it is.
        card = _card(repository.repo_id, manifest, needs_trust=needs_trust)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        with _hub_errors(f"repo_id={repo_id!r}, revision={revision!r}"):
            api.upload_folder(
                repo_id=repository.repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=commit_message or f"{manifest['class']} on {_env_name(manifest)}",
            )
    return str(repository)


def load_from_hub(
    repo_id: str,
    filename: str | None = None,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Agent[Any]:
    """Loads an agent from the Hugging Face hub, without running code from its file, unless it is trusted.

    Args:
        repo_id: `user/name` of the repository.
        filename: The agent's file in it; None: the one that `push_to_hub` writes.
        revision: Branch, tag or commit; None: the newest of the main branch.
        token: Access token, for a private repository; None: the one that `hf auth login` has stored.
        cache_dir: Where downloaded files are kept; None: where huggingface_hub has them.
        **kwargs: As in `slc_agents.load`: `env`, `device`, `trust`, hyperparameters to replace.

    Raises:
        MissingDependencyError: If huggingface_hub is not installed.
        HubError: If there is no such repository, revision or file, or the hub can't be reached.
        ArchiveError: If the file is no agent's, or damaged.
        UntrustedCodeError: If it needs code and `trust` is not set.
    """
    from slc_agents.agents.loading import load
    from slc_agents.callbacks.saving import AGENT_FILE

    library, filename = _library(), filename or AGENT_FILE
    with _hub_errors(f"repo_id={repo_id!r}, filename={filename!r}, revision={revision!r}"):
        path = library.hf_hub_download(
            repo_id,
            filename,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            library_name=LIBRARY,
            library_version=slc_agents.__version__,
        )
    return load(path, **kwargs)


def _library() -> Any:
    return require("huggingface_hub", "hub", "the Hugging Face hub")


@contextmanager
def _hub_errors(what: str) -> Iterator[None]:
    """Gives one error for all that can go wrong on the way: the hub's, and those of whatever carries it there."""
    try:
        yield
    except TypeError:  # a call that is wrong itself
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise HubError(
            f"{what}: the Hugging Face hub doesn't do that ({reason:.400}). Check the names and the network; for "
            "repositories that aren't public, log in: hf auth login"
        ) from error


def _env_name(manifest: Mapping[str, Any]) -> str:
    return manifest["env_id"] or "an environment without an id"


def _settings(manifest: Mapping[str, Any]) -> str:
    """Returns policy and hyperparameters as a settings file; what only code can express has no place in one."""
    settings = {POLICY: manifest["policy"], **manifest["config"]}
    plain = {name: value for name, value in settings.items() if "'$code'" not in repr(value)}
    return yaml.safe_dump(plain, sort_keys=False)


def _card(repo_id: str, manifest: Mapping[str, Any], *, needs_trust: bool) -> str:
    """Returns the page that the hub shows, with the metadata that it reads in front."""
    from slc_agents.agents.evaluation import score_name, score_text
    from slc_agents.callbacks.saving import CONFIG_FILE

    algo, env_name, evaluation = manifest["class"], _env_name(manifest), manifest["evaluation"]
    score, counters, zoo = score_name(manifest["config"]["opt_type"]), manifest["counters"], manifest["settings"]
    library = _library()
    metadata = library.ModelCardData(
        library_name=LIBRARY,
        model_name=f"{algo} on {env_name}",
        pipeline_tag="reinforcement-learning",
        tags=[*filter(None, [manifest["env_id"]]), "deep-reinforcement-learning", "reinforcement-learning", algo],
        eval_results=[
            library.EvalResult(
                task_type="reinforcement-learning",
                task_name="reinforcement-learning",
                dataset_type=env_name,
                dataset_name=env_name,
                # The name that the hub's tables look for; of costs there is none that they know.
                metric_type="mean_reward" if score == "return" else "mean_cost",
                metric_name=f"mean {score}",
                metric_value=score_text(evaluation).replace("±", "+/-"),
            )
        ],
    )
    origin = "" if zoo["zoo"] is None else f" They are the zoo's for {zoo['zoo']}{_but_for(zoo['changed'])}."
    trust = ", trust=True" if needs_trust else ""
    warning = "It needs code of its author's, which `trust=True` runs: only if you trust them.\n\n" if trust else ""
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    return f"""\
---
{metadata.to_yaml().strip()}
---

# {algo} on {env_name}

An agent of the Python package {LIBRARY}, trained for {counters["num_timesteps"]:,} environment steps and
{counters["n_updates"]:,} gradient steps, with seed {manifest["config"]["seed"]}.

| mean {score} ± standard deviation | episodes | mean length | seed of the episodes |
|---|---|---|---|
| {score_text(evaluation)} | {evaluation["episodes"]} | {evaluation["mean_length"]:.1f} | {evaluation["seed"]} |

The episodes are of the deterministic policy{_where(evaluation, manifest)}.

## Use

With `pip install "{LIBRARY}[hub]"`:

```python
from slc_agents import zoo

model = zoo.load_from_hub("{repo_id}"{trust})
action, _ = model.predict(observation, deterministic=True)
```

{warning}The file holds no optimisers: `learn` begins with fresh ones, and target networks as copies of the critics.

## Settings

In `{CONFIG_FILE}`, for `slc-agents train --config`.{origin}

```yaml
{_settings(manifest).strip()}
```

Made with {versions}.
"""


def _but_for(changed: list[str]) -> str:
    return f", but for {', '.join(f'`{name}`' for name in changed)}" if changed else ""


def _where(evaluation: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    where = evaluation["env_id"]
    return f", in {where}" if where is not None and where != manifest["env_id"] else ""
