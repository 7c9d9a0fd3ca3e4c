"""Who may import whom. The layers are those of the architecture's page: imports point downward only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slc_agents

ROOT = Path(slc_agents.__file__).parent
LAYERS = [
    {
        *("errors", "transition", "seeding", "schedulers", "spaces", "logger", "drawing", "compute", "learner"),
        *("yaml_files", "zoo_files", "registration", "intervals"),
    },
    {"training", "callbacks", "buffers", "persistence", "envs", "pytorch", "tf2"},
    {"agents"},
    {"zoo", "tuning", "cli", "compat", "policies", "evaluation", "__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SIDEWAYS = {  # what may be imported from the same layer; the lowest one must only have no circles
    ("callbacks", "training.evaluation"),
    ("callbacks", "envs"),
    ("training", "envs"),
    ("pytorch", "buffers"),
    ("tf2", "buffers"),
    ("tuning", "zoo"),
    ("cli", "zoo"),
    ("cli", "tuning"),
    ("cli", "compat"),
    ("cli", "evaluation"),
    ("__main__", "cli"),
}
BACKENDS = {"torch", "tensorflow", "keras", "jax"}
HOMES = {"pytorch": {"torch"}, "tf2": {"tensorflow"}}  # the one folder in which each is named


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yields the modules that a file imports, inside functions too, but for those of type checkers."""

    def visit(node: ast.AST) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                yield from visit(child)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                # `from slc_agents import zoo` imports a module, `from slc_agents.zoo import x` mostly doesn't.
                yield f"{node.module}.{alias.name}" if node.module == "slc_agents" else str(node.module), node.lineno
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")))


def problems(path: Path) -> Iterator[str]:
    relative = path.relative_to(ROOT)
    source = relative.parts[0].removesuffix(".py")
    for module, line in imports(path):
        where = f"{relative}:{line} imports {module}"
        if module.split(".")[0] in BACKENDS - HOMES.get(source, set()):
            yield f"{where}: backends are named in their own folder only"
        if module.split(".")[0] != "slc_agents" or module == "slc_agents":
            continue
        inner = module.removeprefix("slc_agents.")
        target = inner.split(".")[0]
        if target not in LEVEL:
            if target in slc_agents.__all__:  # a public name, from the top
                target = "agents"
            else:
                yield f"{where}, which has no layer"
                continue
        if source == target:
            continue
        if LEVEL[target] > LEVEL[source]:
            yield f"{where}, which is above it"
        elif LEVEL[target] == LEVEL[source] and not sideways_allowed(source, inner):
            yield f"{where}, which is beside it"


def sideways_allowed(source: str, inner: str) -> bool:
    if LEVEL[source] == 0:
        return True
    return any(source == pair[0] and (inner + ".").startswith(pair[1] + ".") for pair in SIDEWAYS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    assert LEVEL.get(path.relative_to(ROOT).parts[0].removesuffix(".py")) is not None, "a module without a layer"
    assert list(problems(path)) == []


def test_what_is_wrong_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    wrong = {
        "pytorch": "from slc_agents.training.loop import TrainingLoop",
        "tf2": "import torch",
        "learner": "import tensorflow",
        "training": "def f():\n    from slc_agents.pytorch import sac",
        "callbacks": "import slc_agents.training.loop",
        "buffers": "from slc_agents import zoo",
        "spaces": "from slc_agents.envs import make_vector_env",
        "agents": "import torch",
        "envs": "from slc_agents import SAC",
        "persistence": "from slc_agents.cli.main import main",
    }
    for source, text in wrong.items():
        folder = tmp_path / source
        folder.mkdir()
        (folder / "module.py").write_text(text)
        assert len(list(problems(folder / "module.py"))) == 1, text
        (folder / "module.py").write_text(f"if TYPE_CHECKING:\n    {text.splitlines()[-1].strip()}\n")
        assert not list(problems(folder / "module.py"))


def test_modules_of_the_lowest_layer_import_each_other_in_no_circle() -> None:
    edges: dict[str, set[str]] = {name: set() for name in LAYERS[0]}
    for path in modules():
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if name in edges:
            edges[name] |= {m.split(".")[1] for m, _ in imports(path) if m.startswith("slc_agents.")} - {name}
    assert edges["logger"] == {"errors"}  # a folder, whose files are seen too
    while edges:
        leaves = {name for name, targets in edges.items() if not targets & set(edges)}
        assert leaves, f"a circle among {sorted(edges)}"
        edges = {name: targets for name, targets in edges.items() if name not in leaves}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT.parent, timeout=120
    )
    return set(output.stdout.split())


def test_the_loop_leaves_torch_unimported() -> None:
    loaded = loaded_by("import slc_agents.training.loop, slc_agents.training.evaluation, slc_agents.agents.config")
    assert "slc_agents.training.loop" in loaded
    assert not loaded & BACKENDS


def test_the_package_itself_imports_next_to_nothing() -> None:
    loaded = loaded_by("import slc_agents")
    assert not loaded & (BACKENDS | {"pydantic", "mujoco", "pygame", "matplotlib", "rich", "cloudpickle"})
    assert "slc_agents.registration" in loaded
    assert "slc_agents.envs" not in loaded


@pytest.mark.parametrize(
    "module",
    [
        "schedulers",
        "buffers",
        "callbacks",
        "policies",
        "evaluation",
        "envs",
        "zoo",
        "tuning",
        "compat",
        "tf2",
        "learner",
    ],
)
def test_public_modules_cost_no_backend(module: str) -> None:
    loaded = loaded_by(f"import slc_agents.{module}")
    assert f"slc_agents.{module}" in loaded
    assert not loaded & (BACKENDS | {"mujoco", "pygame", "wandb", "matplotlib", "tensorboard", "optuna"})


def test_making_the_agent_s_class_known_costs_no_backend() -> None:
    assert not loaded_by("from slc_agents import SAC, SACConfig, load; SACConfig(lr_a=1e-3)") & BACKENDS
    assert not loaded_by("from slc_agents.tf2 import SAC, LAC; SAC.config_class(lr_a=1e-3)") & BACKENDS
