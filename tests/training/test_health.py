import pytest

from training.health import diagnose


def history(**last: float) -> dict[str, dict[str, list[float]]]:
    """A run whose held-out losses and scores ended in these; they began in good health."""
    good = {"diversity": 1.0, "discriminator": 1.3, "kl": 5.0}
    return {"train": {}, "test": {name: [good[name], value] for name, value in last.items()}}


@pytest.mark.parametrize(
    ("last", "problem", "cure"),
    [
        ({"diversity": 0.19}, "mode collapse", "larger generator"),
        ({"diversity": 0.0, "discriminator": 1.3}, "mode collapse", "Wasserstein"),
        ({"discriminator": 0.049}, "the discriminator has won", "smaller learning rate"),
        ({"kl": 0.0099}, "posterior collapse", "smaller --beta"),
    ],
)
def test_what_is_wrong_and_its_cure(last, problem, cure):
    said = diagnose(history(**last))
    assert said.startswith(problem)
    assert cure in said


@pytest.mark.parametrize(
    "last",
    [
        {},
        {"diversity": 0.21},
        {"diversity": 1.4, "discriminator": 0.051},
        {"kl": 0.011},
        {"discriminator": 1.386},
    ],
)
def test_nothing_is_said_of_a_healthy_run(last):
    assert diagnose(history(**last)) == ""


def test_only_the_last_epoch_counts_and_none_is_fine():
    assert diagnose({"train": {}, "test": {"kl": [0.0, 4.0]}}) == ""
    assert diagnose({"train": {}, "test": {}}) == ""
    assert diagnose({"train": {}, "test": {"kl": []}}) == ""
