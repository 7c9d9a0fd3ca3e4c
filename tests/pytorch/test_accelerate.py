"""How gradient steps are computed: what is chosen, and that nobody else notices."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from slc_agents.compute import ComputeOptions
from slc_agents.pytorch import accelerate
from slc_agents.pytorch.accelerate import ComputePlan, choose_plan

CPU = torch.device("cpu")
ZEN = {"cpu_name": "AMD EPYC", "architecture": "x86_64", "avx512_f": True, "avx512_bf16": True, "amx_tile": False}
HAS_ONEDNN = accelerate._onednn_is_exact()


def plan(*, num_threads: int = 1, matmul: Any = "default") -> ComputePlan:
    return ComputePlan(CPU, "float32", "fused", num_threads, matmul)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends to be another processor, on which oneDNN's products are exact, or not."""

    def pretend(*, is_exact: bool = True, **about: Any) -> None:
        accelerate.onednn_is_faster.cache_clear()
        monkeypatch.setattr(accelerate, "_capabilities", lambda: {**ZEN, **about})
        monkeypatch.setattr(accelerate, "_onednn_is_exact", lambda: is_exact)

    yield pretend
    accelerate.onednn_is_faster.cache_clear()


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({}, "onednn"),
        ({"cpu_name": "Intel(R) Xeon(R)"}, "default"),
        ({"avx512_f": False}, "default"),
        ({"amx_tile": True}, "default"),
        ({"is_exact": False}, "default"),
    ],
)
def test_the_path_of_products_follows_from_the_processor(processor: Any, about: dict[str, Any], expected: str) -> None:
    processor(**about)
    assert choose_plan(nn.Linear(256, 256), CPU, 256, ComputeOptions()).matmul == expected
    assert choose_plan(nn.Linear(256, 256), CPU, 256, ComputeOptions(matmul="default")).matmul == "default"


def test_a_path_that_is_not_there_is_warned_of(processor: Any) -> None:
    processor(is_exact=False)
    with pytest.warns(UserWarning, match=r"matmul='onednn'.*default is taken"):
        assert choose_plan(nn.Linear(2, 2), CPU, 256, ComputeOptions(matmul="onednn")).matmul == "default"
    assert choose_plan(nn.Linear(2, 2), torch.device("cuda"), 256, ComputeOptions(matmul="onednn")).matmul == "default"


def test_threads_follow_from_the_size_of_the_problem() -> None:
    counts = [choose_plan(nn.Linear(n, n), CPU, 256, ComputeOptions()).num_threads for n in (16, 64, 256, 1024)]
    assert counts == sorted(counts)
    assert counts[0] == counts[1] == 1
    assert counts[2] > 2
    assert choose_plan(nn.Linear(16, 16), CPU, 256, ComputeOptions(num_threads=3)).num_threads == 3


def test_bfloat16_without_instructions_for_it_is_warned_of(processor: Any) -> None:
    processor(avx512_bf16=False)
    bfloat16 = ComputeOptions(precision="bfloat16")
    with pytest.warns(UserWarning, match="no instructions"):
        widened = choose_plan(nn.Linear(2, 2), CPU, 256, bfloat16)
    assert widened.widened
    assert "bfloat16 by way of float32, " in str(widened)
    assert not choose_plan(nn.Linear(2, 2), torch.device("cuda"), 256, bfloat16).widened
    assert not choose_plan(nn.Linear(2, 2), CPU, 256, ComputeOptions()).widened
    processor()
    own = choose_plan(nn.Linear(2, 2), CPU, 256, bfloat16)
    assert (own.dtype, own.widened) == (torch.bfloat16, False)


def test_the_plan_says_what_it_is() -> None:
    assert str(plan(matmul="onednn")) == (
        "gradient steps on the CPU: float32, 1 thread, oneDNN's matrix products, fused networks"
    )
    other = ComputePlan(torch.device("cuda", 0), "bfloat16", "ordinary", 1, "default")
    assert str(other) == "gradient steps on cuda:0: bfloat16, ordinary networks"


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN's products")
def test_what_torch_does_for_others_is_left_as_it_was() -> None:
    matmul = torch.backends.mkldnn.matmul
    threads, precision = torch.get_num_threads(), matmul.fp32_precision
    torch.set_num_threads(2)
    try:
        with plan(matmul="onednn").in_force():
            assert torch.get_num_threads() == 1
            assert matmul.fp32_precision == "bf16"
            with plan(num_threads=5).in_force():
                assert torch.get_num_threads() == 1  # never more than there were
        assert torch.get_num_threads() == 2
        assert matmul.fp32_precision == precision
        with pytest.raises(RuntimeError, match="broken"), plan(matmul="onednn").in_force():
            raise RuntimeError("broken")
        assert torch.get_num_threads() == 2
        assert matmul.fp32_precision == precision
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN's products")
def test_the_last_of_several_learners_puts_it_back() -> None:
    matmul = torch.backends.mkldnn.matmul
    precision = matmul.fp32_precision
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with plan(matmul="onednn").in_force():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    with plan(matmul="onednn").in_force():
        pass
    assert matmul.fp32_precision == "bf16"  # the other one is still computing
    go_on.set()
    thread.join()
    assert matmul.fp32_precision == precision


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN's products")
@pytest.mark.parametrize("shape", [(256, 23, 256), (256, 256, 256), (512, 256, 12), (1024, 400, 300)])
def test_one_dnn_s_products_are_as_exact_as_float32_s(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    b, k, n = shape
    x, w = torch.randn(2, b, k, generator=generator), torch.randn(2, k, n, generator=generator)
    with plan(matmul="onednn").in_force():
        product = torch.bmm(x, w)
    exact = torch.bmm(x.double(), w.double())
    assert float((product - exact).abs().max() / exact.abs().max()) < 2e-6


def test_a_learner_computes_by_its_plan(make_learner: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(compute=ComputeOptions(num_threads=1, graphs=False))
    assert "1 thread" in learner.describe()
    seen: list[int] = []
    step = learner.step
    monkeypatch.setattr(learner, "step", lambda *args: (seen.append(torch.get_num_threads()), step(*args))[1])
    batch, _ = make_batch(learner, 0)

    class Memory:
        def sample_indices(self, n: int, batch_size: int) -> list[int]:
            return [0] * n

        def gather(self, rows: int) -> Any:
            arrays = {name: value for name, value in batch._asdict().items() if value is not None}
            return type("Batch", (), {name: value.numpy() for name, value in arrays.items()} | {"horizon_return": None})

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        learner.update(Memory(), 2)
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
