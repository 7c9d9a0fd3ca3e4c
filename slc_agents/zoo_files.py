"""Where the zoo's files are, in an installed package and in a checkout, and what they are called."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "ZOO_PREFIX",
    "agent_name",
    "file_name",
    "folder_names",
    "missing",
    "pretrained_agent_path",
    "pretrained_agents",
    "zoo_configs_folder",
]

ZOO_PREFIX = "zoo:"  # in front of a name in the zoo, where a path may stand too


def zoo_configs_folder() -> Path:
    """Returns the folder that holds `<algo>/<env>.yaml` and `agents/<algo>__<env>.zip`.

    A wheel puts it inside the package. In a checkout, and so in an editable install, it stands beside the package.

    Raises:
        FileNotFoundError: If the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    candidates = [package / "zoo_configs", package.parent / "zoo_configs"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the zoo's files are missing: there is neither {candidates[0]} nor {candidates[1]}; reinstall slc-agents"
    )


def folder_names(folder: Path, pattern: str) -> dict[str, Path]:
    """Returns a folder's files by their names in the zoo: `sac/slc__Oscillator-v1.yaml` is `sac/slc/Oscillator-v1`.

    Files are found by listing them, never by putting together a path of what a user gave: so no name leads elsewhere.
    """
    return {
        path.relative_to(folder).with_name(path.stem).as_posix().replace("__", "/"): path
        for path in sorted(folder.glob(pattern))
    }


def file_name(name: str) -> str:
    """Returns what a file of that name in the zoo is called, without its suffix: `sac__Pendulum-v1`."""
    return name.replace("/", "__")


def agent_name(algo: str, env_id: str) -> str:
    """Returns what the zoo calls an algorithm's agent for an environment: `sac/Pendulum-v1`.

    Raises:
        TypeError: If one of the names is no text.
    """
    for keyword, name in (("algo", algo), ("env_id", env_id)):
        if not isinstance(name, str):
            raise TypeError(f"{keyword}={name!r}: a name is needed, as in algo='sac', env_id='Pendulum-v1'")
    return f"{algo.lower()}/{env_id}"


def missing(what: str, name: str, names: Iterable[str]) -> FileNotFoundError:
    """Returns the error for a name that isn't there, with the nearest ones and all of the same algorithm.

    Where there are none of this algorithm, it has all of the nearest one's; where none is near, all.
    """

    def of_algorithm(like: str) -> list[str]:
        return [other for other in names if other.partition("/")[0] == like.partition("/")[0]]

    names = sorted(names)
    nearest = difflib.get_close_matches(name, names, n=3)
    names = of_algorithm(name) or (of_algorithm(nearest[0]) if nearest else names)
    hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    there = f"There are: {', '.join(names)}" if names else "There are none yet"
    return FileNotFoundError(f"the zoo has no {what} {name!r}{hint}{'' if hint else '.'} {there}")


def pretrained_agents() -> dict[str, Path]:
    """Returns the archives of the pretrained agents by name, such as `sac/Pendulum-v1`."""
    return folder_names(zoo_configs_folder() / "agents", "*.zip")


def pretrained_agent_path(name: str) -> Path:
    """Returns the archive of a pretrained agent.

    Raises:
        FileNotFoundError: If there is none of that name; the message says which there are.
    """
    agents = pretrained_agents()
    if name not in agents:
        raise missing("pretrained agent", name, agents)
    return agents[name]
