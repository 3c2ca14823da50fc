import pytest
import torch

from training.devices import describe_device, pick_device


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
