import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from rich.progress import Progress
from torch import Tensor, nn

from tests.conftest import SPECS
from training import glance, loop, networks, steps
from training.checkpoint import load
from training.data import ImageData, batches
from training.devices import World
from training.loop import Average, Run, evaluate, fit
from training.publish import publish
from training.recipes import KeepBest
from training.specs import Dense, GANSpec, VAESpec

Splits = tuple[ImageData, ImageData]

RECIPES = list(SPECS)
QUIET = Progress(disable=True)


def script_of(monkeypatch: pytest.MonkeyPatch, metric: str, values: list[float]) -> None:
    """Let the held-out ``metric`` take these values, epoch by epoch; weights stay as they are."""
    scores, real_evaluate = iter(values), loop.evaluate

    def scripted(*args):
        return real_evaluate(*args) | {metric: next(scores)}

    monkeypatch.setattr(loop, "evaluate", scripted)


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
    scores = {"diversity"} if "generator" in run.history["test"] else set()
    penalty = {"penalty"} if run.recipe.family == "wgan-gp" else set()
    assert run.history["train"].keys() - penalty == run.history["test"].keys() - scores
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


def large(n: int) -> ImageData:
    """Pictures of 3x256x256."""
    images = torch.zeros(n, 3, 256, 256, dtype=torch.uint8)
    return ImageData(images, torch.zeros(n, dtype=torch.long), ("only",), "large")


def fits(images: Tensor) -> bool:
    """Whether these are few enough to fit into any memory: 16 MB in float32."""
    return images.numel() <= 4_000_000


def test_large_images_are_evaluated_a_few_at_a_time(tiny_recipe):
    spec = VAESpec(2, Dense((2,)), Dense((2,)), (3, 256, 256))
    vae = networks.build(spec)
    assert isinstance(vae, networks.VAE)
    seen = []
    vae.encoder.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    evaluate(tiny_recipe("mnist-conv-vae-z2", network=spec), vae, large(50))
    assert sum(map(len, seen)) == 50
    assert all(map(fits, seen))


def test_large_samples_are_drawn_a_few_at_a_time(tiny_recipe):
    spec = GANSpec(2, Dense((2,)), Dense((2,)), image_shape=(3, 256, 256))
    gan = networks.build(spec)
    assert isinstance(gan, networks.GAN)
    drawn = []
    gan.generator.register_forward_hook(lambda _, __, x: drawn.append(x))
    recipe = tiny_recipe("mnist-gan-r4-z2", network=spec)
    glance.sample_scores(recipe, gan, glance.Reference(1.0), torch.device("cpu"))
    assert sum(map(len, drawn)) == 100
    assert all(map(fits, drawn))


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make the step after ``steps`` steps end as Ctrl-C would end it."""
    make_step = loop.steps.make_step

    def make(*args):
        step = make_step(*args)

        def counted(x, y, i):
            if i == steps:
                raise KeyboardInterrupt
            return step(x, y, i)

        return counted

    monkeypatch.setattr(loop.steps, "make_step", make)


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


def break_weights(monkeypatch: pytest.MonkeyPatch, change: Callable[[nn.Module], object]) -> None:
    """Start every run from weights that ``change`` has seen to."""
    build = loop.networks.build

    def built(spec):
        network = build(spec)
        with torch.no_grad():
            change(network)
        return network

    monkeypatch.setattr(loop.networks, "build", built)


@pytest.mark.parametrize("name", RECIPES)
def test_a_loss_that_is_not_finite_stops_the_run(name, tiny_recipe, halves: Splits, monkeypatch):
    break_weights(monkeypatch, lambda network: next(network.parameters()).fill_(math.nan))
    with pytest.raises(FloatingPointError, match=f"{name}.*smaller learning rate"):
        list(fit(tiny_recipe(name), *halves, QUIET))


def test_the_average_follows_its_warm_up_and_then_its_decay():
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, 0.5)
    expected = network.weight.item()
    for n in range(20):
        with torch.no_grad():
            network.weight.fill_(float(n * n))
        average.update(network)
        keep = min(0.5, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * n * n
        assert average.module.get_parameter("weight").item() == pytest.approx(expected, rel=1e-5)


def test_the_average_soon_forgets_its_random_start():
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, 0.999)
    for value in [1000.0] + [1.0] * 60:
        with torch.no_grad():
            network.weight.fill_(value)
        average.update(network)
    assert average.module.get_parameter("weight").item() == pytest.approx(1.0, abs=1e-2)


def test_batch_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm1d(2, momentum=1.0)
    average = Average(network, 0.0)
    for scale in (1.0, 5.0):
        network(torch.randn(64, 2) * scale)
        average.update(network)
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


@pytest.mark.parametrize(("epochs", "critic_steps"), [(1, 2), (2, 4), (3, 5)])
def test_the_generator_steps_once_per_critic_steps_across_epochs(
    tiny_recipe, halves: Splits, monkeypatch, epochs, critic_steps
):
    """Six batches an epoch: the cycle of four or five goes on where the last epoch left it."""
    recipe = tiny_recipe("mnist-wgan-gp-z2")
    objective = replace(recipe.objective, critic_steps=critic_steps)
    generator_step, seen = loop.steps.wgan_generator_step, []

    def counted(*args, **kwargs):
        seen.append(critic[0])
        return generator_step(*args, **kwargs)

    critic, critic_step = [0], loop.steps.critic_step

    def critic_counted(*args, **kwargs):
        critic[0] += 1
        return critic_step(*args, **kwargs)

    monkeypatch.setattr(loop.steps, "wgan_generator_step", counted)
    monkeypatch.setattr(loop.steps, "critic_step", critic_counted)
    changed = tiny_recipe("mnist-wgan-gp-z2", objective=objective)
    list(fit(changed, *halves, QUIET, epochs=epochs))
    assert critic[0] == 6 * epochs
    assert seen == list(range(critic_steps, 6 * epochs + 1, critic_steps))


def test_fewer_batches_than_critic_steps_are_refused(tiny_recipe, halves: Splits):
    recipe = tiny_recipe("mnist-wgan-gp-z2", batch_size=64)  # one batch of 64; two are wanted
    with pytest.raises(ValueError, match=r"2 critic steps.*96 images.*smaller batch"):
        next(fit(recipe, *halves, QUIET))


def test_early_stopping_ships_the_best_epochs_weights(
    tiny_recipe, halves: Splits, tmp_path, monkeypatch
):
    keep = KeepBest("total", patience=2)
    recipe = tiny_recipe("mnist-conv-vae-z2", epochs=9, keep_best=keep, timeline=(1, 2, 3, 4))
    script_of(monkeypatch, "total", [5.0, 3.0, 4.0, 3.5, 2.0])
    *_, run = fit(recipe, *halves, QUIET)
    assert (run.epochs, run.stopped, run.finished, run.interrupted) == (4, True, True, False)
    card = publish(run, *halves, tmp_path / "vae")
    assert "No better total in 2 epochs: stopped early." in card.notes
    assert "Weights of epoch 2 of 4, the best by total." in card.notes
    assert card.metrics["test/total"] == 3.0
    assert card.epochs == 4
    final, best = load(tmp_path / "vae"), load(tmp_path / "vae", epoch=2)
    assert same_weights(final.network, best.network)
    for other in (1, 3, 4):
        assert not same_weights(final.network, load(tmp_path / "vae", epoch=other).network)


def test_an_equal_epoch_is_no_better_and_patience_is_renewed_by_a_better_one(
    tiny_recipe, halves: Splits, monkeypatch
):
    keep = KeepBest("total", patience=2)
    script_of(monkeypatch, "total", [5.0, 5.0, 4.0, 4.0, 4.0, 1.0])
    *_, run = fit(tiny_recipe("mnist-conv-vae-z2", epochs=9, keep_best=keep), *halves, QUIET)
    assert run.best is not None
    assert (run.best.epoch, run.epochs, run.stopped) == (3, 5, True)


def test_without_patience_the_best_is_kept_to_the_end(tiny_recipe, halves: Splits, monkeypatch):
    keep = KeepBest("score", larger_is_better=True)
    script_of(monkeypatch, "score", [0.1, 0.9, 0.5, 0.2])
    *_, run = fit(tiny_recipe("mnist-conv-vae-z2", epochs=4, keep_best=keep), *halves, QUIET)
    assert run.best is not None
    assert (run.best.epoch, run.best.value, run.epochs, run.stopped) == (2, 0.9, 4, False)


def test_a_judge_chooses_the_epoch_that_a_generator_ships(
    tiny_recipe, halves: Splits, tiny_checkpoints, tmp_path
):
    judge = load(tiny_checkpoints / "judges" / "mnist-judge")
    keep = KeepBest("frechet")
    recipe = tiny_recipe("mnist-cgan", epochs=5, keep_best=keep, timeline=(1, 2, 3, 4, 5))
    *_, run = fit(recipe, *halves, QUIET, judge=judge)
    scores = run.history["test"]["frechet"]
    assert len(scores) == 5
    assert all(math.isfinite(score) and score >= 0 for score in scores)
    best = 1 + scores.index(min(scores))
    card = publish(run, *halves, tmp_path / "cgan")
    assert f"Weights of epoch {best} of 5, the best by frechet." in card.notes
    assert card.metrics["test/frechet"] == min(scores)
    shipped = load(tmp_path / "cgan").network
    assert same_weights(shipped, load(tmp_path / "cgan", epoch=best).network)
    for name in ("largest_class", "class_agreement"):
        assert all(0 <= score <= 1 for score in run.history["test"][name])


def test_where_nothing_measures_the_metric_the_last_epoch_ships_and_the_card_says_so(
    tiny_recipe, halves: Splits, tmp_path
):
    recipe = tiny_recipe("mnist-cgan", keep_best=KeepBest("frechet", patience=1), timeline=(2,))
    *_, run = fit(recipe, *halves, QUIET)
    card = publish(run, *halves, tmp_path / "cgan")
    assert run.best is None
    assert run.epochs == 2
    assert "Weights of the last epoch: nothing measured frechet." in card.notes
    last = load(tmp_path / "cgan", epoch=2).network
    assert same_weights(load(tmp_path / "cgan").network, last)


@pytest.mark.parametrize("name", ["mnist-conv-vae-z2", "mnist-cgan"])
def test_the_timeline_decodes_as_training_went(name, tiny_recipe, halves: Splits, tmp_path):
    recipe = tiny_recipe(name, epochs=3, timeline=(1, 3, 7), learning_rate=1e-2)
    *_, run = fit(recipe, *halves, QUIET)
    publish(run, *halves, tmp_path / "model")
    final = load(tmp_path / "model")
    assert final.timeline() == [1, 3]
    z = torch.randn(4, final.card.latent_dim, generator=torch.Generator().manual_seed(0))
    y = torch.arange(4) % 2 if final.card.num_classes else None
    first, last = (load(tmp_path / "model", epoch=n).decode(z, y) for n in (1, 3))
    assert torch.equal(last, final.decode(z, y))
    assert (first - last).abs().max() > 1e-3


def test_batch_history_has_a_number_per_batch_whose_mean_is_the_epochs(
    tiny_recipe, halves: Splits, tmp_path
):
    recipe = tiny_recipe("mnist-wgan-gp-z2", batch_history=True)
    *_, run = fit(recipe, *halves, QUIET)
    counts = {name: len(values) for name, values in run.batch_losses.items()}
    assert counts == {"critic": 12, "emd": 12, "penalty": 12, "generator": 6}
    for name, values in run.batch_losses.items():
        per_epoch = values.view(2, -1).mean(1).tolist()
        assert per_epoch == pytest.approx(run.history["train"][name], rel=1e-5, abs=1e-6)
    publish(run, *halves, tmp_path / "wgan")
    _, kept = load(tmp_path / "wgan").batch_losses()
    assert kept.keys() == run.batch_losses.keys()
    assert all(torch.equal(kept[name], run.batch_losses[name]) for name in kept)


def test_no_batch_history_unless_the_recipe_asks(tiny_recipe, train_run):
    assert train_run(tiny_recipe("mnist-cgan")).batch_losses == {}


@pytest.mark.parametrize("name", ["mnist-conv-vae-z2", "mnist-judge"])
def test_what_the_caller_draws_between_epochs_does_not_change_the_run(
    name, tiny_recipe, train_run, halves: Splits
):
    recipe = tiny_recipe(name)
    undisturbed: Run = train_run(recipe)
    disturbed: Run | None = None
    for disturbed in fit(recipe, *halves, QUIET):
        torch.manual_seed(disturbed.epochs)
        torch.randn(100)
    assert disturbed is not None
    assert same_weights(disturbed.network, undisturbed.network)
    assert disturbed.history == undisturbed.history


def test_a_batch_that_processes_cannot_share_is_refused(tiny_recipe, halves: Splits):
    class Two(World):
        @property
        def size(self) -> int:
            return 2

    recipe = tiny_recipe("mnist-conv-vae-z2", batch_size=15)
    with pytest.raises(ValueError, match="2 processes cannot share a batch of 15"):
        next(fit(recipe, *halves, QUIET, world=Two()))


def test_the_schedule_runs_over_all_the_epochs_asked_for(tiny_recipe, halves: Splits, monkeypatch):
    """One call per batch, at the share of the images seen before it."""
    shares = []
    schedule = steps.schedule_rates

    def spy(recipe, optimizers, done):
        shares.append(done)
        schedule(recipe, optimizers, done)

    monkeypatch.setattr(steps, "schedule_rates", spy)
    recipe = tiny_recipe("mnist-judge")
    list(fit(recipe, *halves, Progress(disable=True), epochs=3))
    assert shares == pytest.approx([i / 18 for i in range(18)])
