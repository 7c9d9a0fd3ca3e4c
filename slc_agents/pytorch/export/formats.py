"""The formats: how each is written, and read again to be compared with the policy."""

from __future__ import annotations

import contextlib
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from slc_agents.errors import ExportError, require
from slc_agents.learner.export import BATCH, input_names, output_name
from slc_agents.pytorch.encoders import TensorObservation

__all__ = ["FORMATS", "Format", "Runner"]

Runner: TypeAlias = Callable[[TensorObservation], Tensor]

OPSET = 18  # the one that torch's exporter writes without converting it
TRACER_WARNING = torch.jit.TracerWarning  # type: ignore[attr-defined]


class Format(ABC):
    """A format that a policy can be exported to.

    Attributes:
        suffix: That of its files.
        needs: Modules that it needs, of the extra `onnx`.
    """

    suffix: str
    needs: tuple[str, ...] = ()

    @abstractmethod
    def write(self, module: nn.Module, example: TensorObservation, path: Path) -> None:
        """Writes a module, for any batch size.

        Args:
            module: From observations [B, *shape] to actions [B, *shape].
            example: Observations of batch size 2; a dict is in the order of its keys.
            path: The file.
        """

    @abstractmethod
    def load(self, path: Path) -> Runner:
        """Reads a file again."""

    def check_installed(self) -> None:
        """Raises a `MissingDependencyError` if the format needs a package that isn't installed."""
        for module in self.needs:
            require(module, "onnx", "exporting to ONNX")

    def versions(self) -> Mapping[str, str | int]:
        """Returns the versions that matter to what reads the file, beside torch's."""
        return {}


class TorchScript(Format):
    """A recording of the computation, for `torch.jit.load` in Python and libtorch in C++."""

    suffix = ".pt"

    def write(self, module: nn.Module, example: TensorObservation, path: Path) -> None:
        """Records it; a record has only one way through, so a fork in it is an error."""
        with _without_end_of_jit(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TRACER_WARNING)
            traced: Any = torch.jit.trace(module, (example,), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        for warning in caught:
            if issubclass(warning.category, TRACER_WARNING) and " to a Python " in str(warning.message):
                raise ExportError(
                    f"the policy can't be exported to torchscript, nothing was written: {warning.filename}, line "
                    f"{warning.lineno}, decides by the data how to compute. Use torch.where for that, and no assert on "
                    f"tensors or shapes. torch says: {warning.message}"
                )
        with _without_end_of_jit():
            torch.jit.save(traced, str(path))

    def load(self, path: Path) -> Runner:
        """Reads it by `torch.jit.load`."""

        def run(observation: TensorObservation) -> Tensor:
            with _without_end_of_jit():
                action: Tensor = loaded(observation)
            return action

        with _without_end_of_jit():
            loaded: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
        return run


class TorchExport(Format):
    """A graph of torch's operations, for `torch.export.load`."""

    suffix = ".pt2"

    def write(self, module: nn.Module, example: TensorObservation, path: Path) -> None:
        """Saves the graph."""
        torch.export.save(capture(module, example), path)

    def load(self, path: Path) -> Runner:
        """Reads it by `torch.export.load`."""
        return torch.export.load(path).module()


class Onnx(Format):
    """A graph of ONNX operations; a Dict observation is one input a key."""

    suffix = ".onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def write(self, module: nn.Module, example: TensorObservation, path: Path) -> None:
        """Translates torch's graph."""
        with _quiet_translation():
            program: Any = torch.onnx.export(
                capture(module, example), dynamo=True, opset_version=OPSET, external_data=False, verbose=False
            )
        _tidy(program.model.graph, input_names(example), output_name(example))
        program.save(path)

    def load(self, path: Path) -> Runner:
        """Reads it by ONNX Runtime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(observation: TensorObservation) -> Tensor:
            parts = observation if isinstance(observation, dict) else {input_names(observation)[0]: observation}
            (action,) = session.run(None, {name: part.numpy() for name, part in parts.items()})
            return torch.from_numpy(action)

        return run

    def versions(self) -> Mapping[str, str | int]:
        """See `Format`."""
        import onnx

        return {"onnx": onnx.__version__, "onnx_opset": OPSET}


FORMATS: Mapping[str, Format] = {"torchscript": TorchScript(), "onnx": Onnx(), "torch_export": TorchExport()}


def capture(module: nn.Module, example: TensorObservation) -> torch.export.ExportedProgram:
    """Records a module as a graph in which the batch size is a variable."""
    batch = {0: torch.export.Dim("batch")}
    shapes = dict.fromkeys(example, batch) if isinstance(example, dict) else batch
    return torch.export.export(module, (example,), dynamic_shapes=(shapes,))


@contextlib.contextmanager
def _without_end_of_jit() -> Iterator[None]:
    # torch announces the end of torch.jit, which is still what runs in C++ without a compiler at hand.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield


@contextlib.contextmanager
def _quiet_translation() -> Iterator[None]:
    """Keeps from the user what torch's exporter says about packages that aren't needed, and about itself."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _tidy(graph: Any, inputs: Sequence[str], output: str) -> None:
    """Gives a graph's ends their names, and takes notes about the machine that wrote it out of it.

    Args:
        graph: An `onnx_ir.Graph` with the inputs' values first to last.
        inputs: Their names.
        output: That of the only output.
    """
    batch = str(graph.inputs[0].shape[0])
    graph.metadata_props.clear()
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        # No key of an observation has a slash, so none can be taken already.
        value.name = f"policy/{value.name}"
        if value.shape is not None and not value.is_initializer():
            value.shape = type(value.shape)([BATCH if str(size) == batch else size for size in value.shape])
    for value, name in zip([*graph.inputs, *graph.outputs], [*inputs, output], strict=True):
        value.name = name
