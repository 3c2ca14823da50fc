from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from training.devices import (
    describe_device,
    has_bf16,
    out_of_memory,
    pick_device,
    random_state_kept,
)


def test_cpu_is_always_there():
    assert pick_device("cpu") == torch.device("cpu")
    assert describe_device(torch.device("cpu")).startswith("cpu (")


def test_auto_takes_a_device_that_works():
    device = pick_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert device.type == "cuda" or not torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this GPU works")
def test_auto_passes_over_a_gpu_that_does_not_work(monkeypatch, capsys):
    """There seems to be one, as where torch has no kernels for a GPU so old."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cpu")
    said = " ".join(capsys.readouterr().err.split())
    assert "'cuda' cannot be used" in said
    assert said.endswith("the CPU is taken instead.")
    assert pick_device("auto") == torch.device("cpu")
    assert capsys.readouterr().err == ""  # once is enough


@pytest.mark.parametrize("name", ["cuda:99", "meta", "tpu", "", "cpu:x"])
def test_a_device_that_does_not_work_says_why(name):
    with pytest.raises(ValueError, match="--device cpu works everywhere"):
        pick_device(name)


@pytest.fixture(params=["cpu", "mps", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device to draw on; without Apple's hardware, the CPU draws in its GPU's place."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if request.param == "mps" and not torch.backends.mps.is_available():
        generator = torch.Generator().manual_seed(3)
        monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: generator)
        monkeypatch.setattr(torch._C, "_has_mps", True)
    return torch.device(request.param)


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(device: torch.device):
    def state() -> tuple[list[int], list[int]]:
        own = torch if device.type == "cpu" else torch.get_device_module(device)
        return torch.get_rng_state().tolist(), own.get_rng_state().tolist()

    before = state()
    with random_state_kept(device):
        torch.manual_seed(0)
        torch.rand(3)
        within = state()
    assert state() == before != within


def test_the_gpu_asked_about_bfloat16_is_the_one_given(monkeypatch: pytest.MonkeyPatch):
    current = [torch.device("cuda:0")]

    @contextmanager
    def made_current(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    second = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device", made_current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == second)
    assert has_bf16(second)
    assert not has_bf16(torch.device("cuda:0"))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_too_little_memory_is_recognised_by_its_words(words: str):
    assert out_of_memory(RuntimeError(words))
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
