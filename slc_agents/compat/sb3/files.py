"""The zips that Stable-Baselines3 writes, as far as they can be read without running code from them.

`data` is JSON. What JSON can't express stands there as a pickle in base64, with readable attributes beside it: the
attributes are read, the pickles are not. The members `*.pth` hold tensors.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slc_agents.errors import ArchiveError, SlcAgentsError
from slc_agents.transition import Array

__all__ = ["SB3File", "read_file", "reading"]

SAC_POLICIES = "stable_baselines3.sac.policies"
_POLICY, _VARIABLES = "policy.pth", "pytorch_variables.pth"
_OPTIMIZERS = {
    "actor": "actor.optimizer.pth",
    "critic": "critic.optimizer.pth",
    "alpha": "ent_coef_optimizer.pth",  # there is none where the temperature is fixed
}
_PARSE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class SB3File:
    """What a zip of Stable-Baselines3's SAC holds.

    Attributes:
        path: The file.
        data: The model's attributes.
        policy: Tensors by name, in the order of the networks' parameters.
        optimizers: State dicts of the optimisers of `actor`, `critic` and, where it is learned, `alpha`.
        variables: Tensors beside the policy: the temperature.
    """

    path: Path
    data: Mapping[str, Any]
    policy: Mapping[str, Array]
    optimizers: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, Array]

    def get(self, name: str) -> Any:
        """Returns one of the model's attributes.

        Raises:
            ArchiveError: If the file lacks it.
        """
        if name not in self.data:
            raise ArchiveError(f"{self.path}: its data lack {name!r}, which every model of Stable-Baselines3's SAC has")
        return self.data[name]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Makes an `ArchiveError` of whatever contents that nobody wrote on purpose lead to, in what runs inside it."""
    try:
        yield
    except SlcAgentsError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        raise ArchiveError(f"{path}: damaged, or its networks don't fit its data: {error}") from error


def read_file(path: str | os.PathLike[str]) -> SB3File:
    """Reads a zip that Stable-Baselines3's SAC saved. No code from it is run.

    Args:
        path: The file; `.zip` may be left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is damaged, no file of Stable-Baselines3, or another algorithm's.
    """
    from slc_agents.pytorch.pth_files import read_pth  # the backend is imported when it is first used

    found = Path(path)
    if not found.exists() and not found.suffix:
        found = found.with_name(f"{found.name}.zip")
    try:
        with zipfile.ZipFile(found) as archive:
            names = archive.namelist()
            if "data" not in names:
                hint = "an agent of this package; use slc_agents.load" if "manifest.json" in names else "something else"
                raise ArchiveError(f"{found}: not a file of Stable-Baselines3, but {hint}")
            data = json.loads(_read(archive, "data", found))
            _check_algorithm(data, found)
            members = [_POLICY, _VARIABLES, *(name for key, name in _OPTIMIZERS.items() if key != "alpha")]
            missing = [name for name in members if name not in names]
            if missing:
                raise ArchiveError(f"{found}: lacks {', '.join(missing)}, which Stable-Baselines3's SAC saves")
            tensors = {
                name: read_pth(_read(archive, name, found), f"{found}, {name}")
                for name in (_POLICY, _VARIABLES, *_OPTIMIZERS.values())
                if name in names
            }
    except (FileNotFoundError, ArchiveError):
        raise
    except _PARSE_ERRORS as error:
        raise ArchiveError(f"{found}: damaged, or not a file of Stable-Baselines3 ({error})") from error
    for name, content in tensors.items():
        if not isinstance(content, dict):
            raise ArchiveError(f"{found}, {name}: a dict is needed; it holds a {type(content).__name__}")
    for name in (_POLICY, _VARIABLES):
        if not all(isinstance(key, str) and hasattr(value, "dtype") for key, value in tensors[name].items()):
            raise ArchiveError(f"{found}, {name}: it holds more than tensors by name")
    optimizers = {key: tensors[name] for key, name in _OPTIMIZERS.items() if name in tensors}
    return SB3File(found, data, tensors[_POLICY], optimizers, tensors[_VARIABLES])


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    # Stable-Baselines3 stores its members: a file of its own never unfolds into more than its size.
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ArchiveError(f"{path}: {name} is compressed, which Stable-Baselines3 never does; take the original file")
    return archive.read(name)


def _check_algorithm(data: Any, path: Path) -> None:
    """Raises an `ArchiveError` unless the data are those of a model of SAC, with a policy of the library's own."""
    policy_class = data.get("policy_class") if isinstance(data, dict) else None
    module = policy_class.get("__module__") if isinstance(policy_class, dict) else None
    if not isinstance(module, str):
        raise ArchiveError(f"{path}: not a file of Stable-Baselines3: its data say no policy class")
    if module == SAC_POLICIES:
        return
    library, _, rest = module.partition(".")
    if library not in ("stable_baselines3", "sb3_contrib"):
        raise ArchiveError(
            f"{path}: its policy is a class of its author's, from the module {module!r}, whose code would have to be "
            "run to know what it computes. Policies of Stable-Baselines3's own can be read"
        )
    algorithm = rest.partition(".")[0]
    name = "an on-policy algorithm, PPO or A2C" if algorithm == "common" else algorithm.upper()
    raise ArchiveError(f"{path}: holds an agent of {name}; SAC is what can be read here")
