"""The package as others get it: a wheel, and an editable install, each tried from outside the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from slc_agents import SAC, zoo
from slc_agents.zoo_files import file_name

ROOT = Path(__file__).resolve().parents[2]

# A pretrained agent of the zoo's, which comes with the package.
PRETRAINED = "sac/packaging/Pendulum-v1"
OBSERVATION = [1.0, 0.0, 0.5]

PROBE = """
import importlib.util, json, sys
import slc_agents
from slc_agents import zoo
from slc_agents.zoo_files import zoo_configs_folder

folder = zoo_configs_folder()
agent, observation, *names = sys.argv[1:]
algo, env_id = agent.split("/", 1)
action, _ = zoo.load_agent(algo, env_id).predict(json.loads(observation), deterministic=True)
print(json.dumps({
    "package": slc_agents.__file__,
    "zoo": str(folder),
    "zoo_files": sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()),
    "missing": [name for name in names if importlib.util.find_spec(name) is None],
    "agents": zoo.list_agents(),
    "action": action.tolist(),
    "episodes": zoo.agent_manifest(algo, env_id)["evaluation"]["episodes"],
    "settings": zoo.load_config("sac", "default").lr_a,
}))
"""


def subpackages(root: Path) -> list[str]:
    return sorted(".".join(init.parent.relative_to(root).parts) for init in root.glob("slc_agents/**/__init__.py"))


def modules(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("slc_agents/**/*.py")}


def zoo_files(root: Path) -> list[str]:
    folder = root / "zoo_configs"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in {".yaml", ".zip"})


def spaces(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("slc_agents/tuning/spaces/*.yaml")}


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that no build output lands in the checkout and no old one reaches the wheel."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("slc_agents", "zoo_configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "zoo_configs" / "agents").mkdir(exist_ok=True)
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, policy_kwargs={"hidden_sizes": [4]})
    zoo.pack_agent(model, copy / "zoo_configs" / "agents" / f"{file_name(PRETRAINED)}.zip", episodes=1)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shutil.copytree(checkout, tmp_path_factory.mktemp("source") / "source")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def install(what: list[str | Path], folder: Path) -> Path:
    """Installs into a new environment, which has the dependencies of this one but not its slc_agents."""
    venv.create(folder / "env", with_pip=False, symlinks=True)
    paths = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    site_packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    # A .pth file adds the folder alone: an editable install recorded in it by another .pth file stays unseen.
    dependencies = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(dependencies)), encoding="utf-8")
    python = Path(sysconfig.get_path("scripts", scheme="venv", vars=paths)) / "python"
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=folder)
    return python


def probe(python: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    # -I: neither the working folder nor PYTHONPATH are searched, so the checkout can't be imported by accident.
    arguments = [PRETRAINED, json.dumps(OBSERVATION), *names]
    report: dict[str, Any] = json.loads(run(python, "-I", "-c", PROBE, *arguments, cwd=folder))
    return report


def check_zoo(report: dict[str, Any], checkout: Path) -> None:
    """The zoo is there, and its agents can be used by their names."""
    assert report["agents"] == sorted([*zoo.list_agents(), PRETRAINED])
    model = SAC.load(checkout / "zoo_configs" / "agents" / f"{file_name(PRETRAINED)}.zip")
    assert report["action"] == model.predict(OBSERVATION, deterministic=True)[0].tolist()
    assert report["episodes"] == 1
    assert report["settings"] == zoo.load_config("sac", "default").lr_a


def test_the_wheel_holds_every_module_the_type_marker_and_the_zoo(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    expected = (
        modules(ROOT) | {"slc_agents/py.typed"} | {f"slc_agents/zoo_configs/{name}" for name in zoo_files(checkout)}
    )
    assert {"sac/Pendulum-v1.yaml", "sac/default.yaml", f"agents/{file_name(PRETRAINED)}.zip"} <= set(
        zoo_files(checkout)
    )
    expected |= spaces(ROOT)
    assert spaces(ROOT)
    assert expected - files == set()
    assert {name for name in files - expected if ".dist-info/" not in name} == set()


def test_the_wheel_declares_its_command_and_its_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        commands = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "slc-agents = slc_agents.cli.main:main" in commands
    for extra in ("tensorboard", "wandb", "plot", "onnx", "mujoco", "box2d", "video", "hub", "tune", "docs", "dev"):
        assert f"Provides-Extra: {extra}\n" in metadata


def test_an_installed_wheel_works_outside_the_checkout(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    python = install([wheel], tmp_path)
    report = probe(python, tmp_path, subpackages(ROOT))
    assert Path(str(report["package"])).is_relative_to(tmp_path)
    assert Path(str(report["zoo"])).is_relative_to(tmp_path)
    assert report["zoo_files"] == zoo_files(checkout)
    assert report["missing"] == []
    check_zoo(report, checkout)


def test_an_editable_install_works_outside_the_checkout(checkout: Path, tmp_path: Path) -> None:
    python = install(["--editable", checkout], tmp_path)
    report = probe(python, tmp_path, subpackages(ROOT))
    assert Path(str(report["package"])).is_relative_to(checkout)
    assert report["zoo"] == str(checkout / "zoo_configs")
    assert set(zoo_files(checkout)) <= set(report["zoo_files"])
    assert report["missing"] == []
    check_zoo(report, checkout)
