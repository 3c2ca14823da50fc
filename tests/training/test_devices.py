from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from training.devices import describe_device, has_bf16, pick_device


def test_cpu_is_always_there():
    assert pick_device("cpu") == torch.device("cpu")
    assert describe_device(torch.device("cpu")).startswith("cpu (")


def test_auto_takes_a_device_that_works():
    device = pick_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert device.type == "cuda" or not torch.cuda.is_available()


@pytest.mark.parametrize("name", ["cuda:99", "meta", "tpu", "", "cpu:x"])
def test_a_device_that_does_not_work_says_why(name):
    with pytest.raises(ValueError, match="--device cpu works everywhere"):
        pick_device(name)


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
