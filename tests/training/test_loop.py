import copy
import math

import pytest
import torch
from rich.progress import Progress
from torch import nn

from training import loop
from training.data import ImageData, batches
from training.loop import Run, averaged, evaluate, fit

Splits = tuple[ImageData, ImageData]

RECIPES = ["mnist-conv-vae-z2", "mnist-cgan", "mnist-judge"]
QUIET = Progress(disable=True)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_run_bit_for_bit(name, tiny_recipe, train_run):
    recipe = tiny_recipe(name)
    first, second, other = train_run(recipe), train_run(recipe), train_run(recipe, seed=1)
    assert same_weights(first.network, second.network)
    assert first.history == second.history
    assert not same_weights(first.network, other.network)
    assert first.history != other.history


@pytest.mark.parametrize("name", RECIPES)
def test_history_has_a_finite_number_per_epoch_and_part(name, tiny_recipe, train_run):
    run = train_run(tiny_recipe(name, epochs=3))
    assert run.finished
    assert run.history["train"].keys() == run.history["test"].keys()
    for parts in run.history.values():
        for values in parts.values():
            assert len(values) == 3
            assert all(math.isfinite(value) for value in values)
    assert run.images_seen == 3 * 96
    assert run.seconds > 0


def test_every_epoch_is_yielded_with_its_progress(tiny_recipe, halves: Splits):
    progress = Progress(disable=True)
    recipe = tiny_recipe("mnist-conv-vae-z2")
    seen = [
        (run.epochs, run.images_seen, run.finished, run.interrupted)
        for run in fit(recipe, *halves, progress, epochs=3)
    ]
    assert seen == [(1, 96, False, False), (2, 192, False, False), (3, 288, True, False)]
    assert progress.tasks[0].completed == progress.tasks[0].total == 288


def test_training_lowers_the_held_out_loss(tiny_recipe, train_run):
    run = train_run(tiny_recipe("mnist-conv-vae-z2", epochs=12, learning_rate=1e-2))
    total = run.history["test"]["total"]
    assert total[-1] < total[0] - 1


def test_evaluation_repeats_and_leaves_network_and_random_state_alone(tiny_recipe, halves: Splits):
    for name in RECIPES:
        recipe = tiny_recipe(name)
        network = loop.networks.build(recipe.network).train()
        before, state = copy.deepcopy(network), torch.get_rng_state()
        assert evaluate(recipe, network, halves[1]) == evaluate(recipe, network, halves[1])
        assert same_weights(before, network)
        assert network.training
        assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_weighs_a_short_last_batch_by_its_size(tiny_recipe, halves: Splits, monkeypatch):
    recipe = tiny_recipe("mnist-judge")
    network = loop.networks.build(recipe.network)
    whole = evaluate(recipe, network, halves[1])
    monkeypatch.setattr(loop, "batches", lambda data, _: batches(data, 20))  # 20 and 12
    parts = evaluate(recipe, network, halves[1])
    assert parts == pytest.approx(whole, rel=1e-5)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make the step after ``steps`` steps end as Ctrl-C would end it."""
    make_step = loop.make_step

    def make(*args):
        step, count = make_step(*args), iter(range(steps))

        def counted(x, y):
            if next(count, None) is None:
                raise KeyboardInterrupt
            return step(x, y)

        return counted

    monkeypatch.setattr(loop, "make_step", make)


def test_ctrl_c_in_mid_epoch_yields_what_there_is(tiny_recipe, halves: Splits, monkeypatch):
    interrupt_after(monkeypatch, 6 + 2)
    recipe = tiny_recipe("mnist-conv-vae-z2")
    runs = [copy.copy(run) for run in fit(recipe, *halves, QUIET, epochs=5)]
    assert [run.interrupted for run in runs] == [False, True]
    last = runs[-1]
    assert (last.epochs, last.images_seen) == (1, 96 + 32)
    assert {len(values) for part in last.history.values() for values in part.values()} == {1}
    assert not last.finished


def test_ctrl_c_during_evaluation_counts_the_epoch_as_incomplete(
    tiny_recipe, halves: Splits, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "evaluate", interrupted)
    (run,) = fit(tiny_recipe("mnist-conv-vae-z2"), *halves, QUIET)
    assert run.interrupted
    assert (run.epochs, run.images_seen) == (0, 96)
    assert run.history == {"train": {}, "test": {}}


def test_ctrl_c_before_the_first_step_yields_nothing(tiny_recipe, halves: Splits, monkeypatch):
    interrupt_after(monkeypatch, 0)
    assert list(fit(tiny_recipe("mnist-conv-vae-z2"), *halves, QUIET)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_loss_that_is_not_finite_stops_the_run(name, tiny_recipe, halves: Splits, monkeypatch):
    build = loop.networks.build

    def broken(spec):
        network = build(spec)
        with torch.no_grad():
            next(network.parameters()).fill_(math.nan)
        return network

    monkeypatch.setattr(loop.networks, "build", broken)
    with pytest.raises(FloatingPointError, match=f"{name}.*smaller learning rate"):
        list(fit(tiny_recipe(name), *halves, QUIET))


def test_the_average_follows_its_warm_up_and_then_its_decay():
    network = nn.Linear(1, 1, bias=False)
    average = averaged(network, 0.5)
    expected = 0.0
    for n in range(20):
        with torch.no_grad():
            network.weight.fill_(float(n * n))
        average.update_parameters(network)
        keep = min(0.5, (1 + n) / (10 + n)) if n else 0.0
        expected = keep * expected + (1 - keep) * n * n
        assert average.module.get_parameter("weight").item() == pytest.approx(expected, rel=1e-5)


def test_the_average_soon_forgets_its_random_start():
    network = nn.Linear(1, 1, bias=False)
    average = averaged(network, 0.999)
    for value in [1000.0] + [1.0] * 60:
        with torch.no_grad():
            network.weight.fill_(value)
        average.update_parameters(network)
    assert average.module.get_parameter("weight").item() == pytest.approx(1.0, abs=1e-2)


def test_batch_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm1d(2, momentum=1.0)
    average = averaged(network, 0.0)
    for scale in (1.0, 5.0):
        network(torch.randn(64, 2) * scale)
        average.update_parameters(network)
    torch.testing.assert_close(average.module.running_var, network.running_var)
    assert average.module.num_batches_tracked == network.num_batches_tracked == 2


def test_recipes_with_an_average_ship_the_average(tiny_recipe, halves: Splits):
    recipe = tiny_recipe("mnist-judge", ema_decay=0.999)
    shipped: Run = list(fit(recipe, *halves, QUIET, epochs=1))[-1]
    last: Run = list(fit(tiny_recipe("mnist-judge", ema_decay=None), *halves, QUIET, epochs=1))[-1]
    assert not same_weights(shipped.network, last.network)
    assert shipped.history["train"] == last.history["train"]  # training itself is the same


def test_a_batch_larger_than_the_set_is_one_step(tiny_recipe, halves: Splits):
    progress = Progress(disable=True)
    recipe = tiny_recipe("mnist-conv-vae-z2", batch_size=1000)
    (run,) = fit(recipe, *halves, progress, epochs=1)
    assert run.images_seen == progress.tasks[0].total == 96
