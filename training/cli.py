"""Command line, ``latent-train``: list, fit, zoo, evaluate, report, bench, verify, export, ..."""

from __future__ import annotations

import _thread
import dataclasses
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from training.children import UNTIL_EOF, at_eof
from training.console import INTERRUPTED, console, errors, fail
from training.recipes import ELBO, RECIPES, Recipe, by_name, for_images
from training.scores import SAMPLES

if TYPE_CHECKING:  # torch takes seconds to import: `list` and `--help` do without it
    from training.bench import Speed

LONGEST_NAME = 100

app = typer.Typer(
    help="Train the VAEs and GANs of the five reports into small, safe checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder that holds MNIST/raw, cifar10, imagenette2-160, or train/<class>/ and "
        "test/<class>/ with your own images. Default: the variable LATENT_DATA, else data.",
    ),
]

DeviceOption = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto: a GPU where there is one.")
]
OutOption = Annotated[Path, typer.Option(help="Folder that receives the checkpoint folders.")]


@app.command("list")
def list_recipes(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with parameters by network.")
    ] = False,
) -> None:
    """List every recipe: what it trains, where it comes from, how long it runs."""
    if as_json:
        print(json.dumps([_summary(recipe) for recipe in RECIPES.values()], indent=1))
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("recipe", no_wrap=True, overflow="fold")  # to be copied, so never cut
    table.add_column("what")
    for heading in ("report", "epochs", "batch"):
        table.add_column(heading, no_wrap=True)
    for recipe in RECIPES.values():
        table.add_row(
            recipe.name,
            Text(recipe.title, no_wrap=True, overflow="ellipsis"),  # one line for each
            recipe.report or "-",
            str(recipe.epochs),
            str(recipe.batch_size),
        )
    console.print(table)


def _summary(recipe: Recipe) -> dict[str, object]:
    """One recipe for ``list --json``."""
    from training.networks import recipe_parameters

    names = ("name", "title", "report", "row", "family", "dataset")
    numbers = ("latent_dim", "num_classes", "epochs", "batch_size")
    summary: dict[str, object] = {name: getattr(recipe, name) for name in (*names, *numbers)}
    return summary | {"parameters": recipe_parameters(recipe)}


@app.command()
def fit(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Name of a recipe; `latent-train list` has them. With --images: the name that "
            "the new model gets."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data. Default: the recipe's.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per step, over all devices. Default: the recipe's."),
    ] = None,
    data: DataOption = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Train on your own pictures instead of a recipe's data: a folder of pictures, or "
            "of one folder per class. Needs --family; --z and --size say how large."
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="With --images: vae, gan, cgan, wgan or wgan-gp.")
    ] = None,
    z: Annotated[int, typer.Option(help="With --images: latent dimensions.")] = 64,
    size: Annotated[int, typer.Option(help="With --images: width and height in pixels.")] = 64,
    grey: Annotated[bool, typer.Option("--grey", help="With --images: without colour.")] = False,
    out: OutOption = Path("runs"),
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, data order and noise."),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that was stopped, killed or lost its power, where it was. "
            "Its settings must be the same; only --epochs may be larger.",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a checkpoint of the same name in --out. One that has seen more images "
            "is kept, with its state, until the new run has caught up or is finished; that one's "
            "are beside it in NAME.partial and NAME.partial.state.",
        ),
    ] = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-8,
            max=1.0,
            help="Step size, of the generator alone where the recipe has two. Default: the "
            "recipe's.",
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(min=0.0, max=1e6, help="VAEs: weight of the KL. Default: the recipe's."),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.99999, help="Ship weights averaged with this decay per step; 0 for none."
        ),
    ] = None,
    timeline: Annotated[
        str | None,
        typer.Option(help="Epochs whose weights are kept for replay, for instance 1,5,20."),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Also write every loss for TensorBoard into this folder.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show losses and samples in the app while it trains."),
    ] = False,
    device: DeviceOption = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, one per GPU.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    strategy: Annotated[
        str, typer.Option(help="How they share the work: ddp, a share of every batch for each.")
    ] = "ddp",
    precision: Annotated[
        str | None,
        typer.Option(help="32-true or bf16-mixed. Default: the recipe's."),
    ] = None,
    eager: Annotated[
        bool,
        typer.Option(
            "--eager",
            envvar="LATENT_EAGER",
            help="On a GPU: launch every operation of a step by itself, where its driver cannot "
            "replay whole steps from a CUDA graph. The same numbers, slower.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check data, device and settings, print them, and stop."),
    ] = False,
    until_eof: Annotated[
        bool,
        typer.Option(UNTIL_EOF, hidden=True, help="Ctrl-C when standard input closes."),
    ] = False,
) -> None:
    """Train one recipe, or a model of your own pictures, and write its checkpoint.

    The checkpoint so far is in --out, new after an epoch as often as a twentieth of the time
    allows; --resume goes on from NAME.state beside it, saved every half minute and at Ctrl-C, which
    saves what has been learnt and exits with 130; a second Ctrl-C gives that up and leaves the last
    checkpoint. See it in the app with
    `latent-explorer --checkpoints OUT`, or, while it trains, with --watch.
    """
    if until_eof:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it behind a &
        at_eof(_thread.interrupt_main)
    try:
        chosen = _chosen(recipe, images, family, z, size, 1 if grey else 3)
        chosen = _adjusted(chosen, batch_size, learning_rate, beta, ema, timeline, precision)
    except ValueError as error:
        fail(str(error))
    planned = epochs or chosen.epochs
    if timeline and (late := [str(epoch) for epoch in chosen.timeline if epoch > planned]):
        console.print(
            f"[yellow]--timeline {','.join(late)}: the run ends after epoch {planned}.[/]",
            soft_wrap=True,
        )
    from training import fitting  # once the options are right: torch takes seconds to import

    fitting.fit(
        chosen,
        fitting.Options(
            out=out,
            epochs=planned,
            seed=seed,
            data=data,
            images=images,
            resume=resume,
            overwrite=overwrite,
            tensorboard=tensorboard,
            watch=watch,
            device=device,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            any_precision=precision is None,
            eager=eager,
            dry_run=dry_run,
        ),
    )


def _chosen(
    recipe: str | None, images: Path | None, family: str | None, z: int, size: int, channels: int
) -> Recipe:
    """The recipe asked for by name, or one made for the user's own pictures."""
    if images is None:
        if recipe is None:
            raise ValueError("say which recipe; `latent-train list` shows them all")
        if family is not None:
            raise ValueError("--family goes with --images: a recipe has its own")
        return by_name(recipe)
    if family is None:
        raise ValueError("--images needs --family: vae, gan, cgan, wgan or wgan-gp")
    folder = re.sub(r"[^a-z0-9.-]+", "-", images.resolve().name.lower()).strip("-.") or "images"
    ending = f"-{family}-z{z}"
    name = recipe or folder[: LONGEST_NAME - len(ending)] + ending
    if name in RECIPES:
        raise ValueError(f"{name} is the name of a recipe: give your model another one")
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(
            f"{name!r} is no name for a model: use a-z, 0-9, dots and dashes, at most "
            f"{LONGEST_NAME} in all"
        )
    if re.fullmatch(r"judges|results|.*\.(partial|state|log|json)", name):
        raise ValueError(
            f"{name!r} is no name for a model: judges and results are folders of their own, and "
            "what ends in .partial, .state, .log or .json lies beside a model"
        )
    return for_images(name, family, z, size, channels)


def _adjusted(
    recipe: Recipe,
    batch_size: int | None,
    learning_rate: float | None,
    beta: float | None,
    ema: float | None,
    timeline: str | None,
    precision: str | None,
) -> Recipe:
    """The recipe with the settings given on the command line."""
    changes: dict[str, object] = {}
    if batch_size is not None:
        changes["batch_size"] = batch_size
    if learning_rate is not None:
        changes["learning_rate"] = learning_rate
    if beta is not None:
        if not isinstance(recipe.objective, ELBO):
            raise ValueError(f"--beta weighs the KL of a VAE, and {recipe.name} is none")
        changes["objective"] = dataclasses.replace(recipe.objective, beta=beta)
    if ema is not None:
        changes["ema_decay"] = ema or None
    if timeline is not None:
        try:
            epochs = sorted({int(part) for part in timeline.split(",")})
        except ValueError:
            raise ValueError(f"--timeline {timeline!r} is no list of epochs like 1,5,20") from None
        if not 1 <= epochs[0] <= epochs[-1] <= 100_000:
            raise ValueError("--timeline counts epochs from 1 to 100,000")
        changes["timeline"] = tuple(epochs)
    if precision is not None:
        if precision not in ("32-true", "bf16-mixed"):
            raise ValueError(f"--precision {precision!r} is not 32-true or bf16-mixed")
        changes["bf16"] = precision == "bf16-mixed"
    return dataclasses.replace(recipe, **changes)


class _RayAlone(TyperCommand):
    """A command whose ``--ray`` may stand without an address, which typer does not know."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give ``--ray`` the address "local" where none follows."""
        given = [
            "--ray=local"
            if arg == "--ray" and not re.fullmatch(r"local|auto|[^*]+:\d+", after)
            else arg
            for arg, after in zip(args, [*args[1:], ""], strict=True)
        ]
        return super().parse_args(ctx, given)


@app.command(cls=_RayAlone)
def zoo(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|GLOB]...", help="Which recipes, like 'mnist-*'. Default: every one."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at once on this machine; with --ray, on each GPU.")
    ] = 2,
    budget_minutes: Annotated[
        float | None,
        typer.Option(help="Stop training after so many minutes; what is at work is saved."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of every run. Default: the recipes' own.")
    ] = None,
    data: DataOption = None,
    out: OutOption = Path("runs"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of every run.")] = 0,
    device: DeviceOption = "auto",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Train on Ray: alone, on one of its own on this machine; with auto or HOST:PORT, "
            "on the cluster there. The data must lie on each machine under the same --data, or "
            "where its own LATENT_DATA says.",
        ),
    ] = None,
) -> None:
    """Train many recipes, the shortest missing one first; then score them and write the report.

    Every run is a process of its own, as `latent-train fit` starts it, and prints into NAME.log in
    --out: one that fails costs only its recipe. After Ctrl-C, the end of the budget, `kill -9` or
    a power cut the same command goes on where everything was. Finished checkpoints are left as
    they are. Exits with 1 where something went wrong.
    """
    from training.data import data_root
    from training.zoo import Plan, chosen, here, run

    try:
        found = chosen(recipes or [])
        there = data_root(data).resolve() if data or ray in (None, "local") else None
        plan = Plan(out.resolve(), there, device, seed, epochs, jobs)
        if ray:
            from training.cluster import connected

            failed = run(found, plan, connected(ray, plan), budget_minutes)
        else:
            failed = run(found, plan, here(plan), budget_minutes)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("[yellow]Stopped.[/] The same command goes on where everything was.")
        raise typer.Exit(INTERRUPTED) from None
    if failed:
        raise typer.Exit(1)


@app.command()
def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Checkpoint folders, or folders of them."),
    ],
    samples: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Images drawn from each model.")
    ] = SAMPLES,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of their noise.")] = 0,
    data: DataOption = None,
    images: Annotated[
        Path | None, typer.Option(help="Your own pictures, where the model was trained on them.")
    ] = None,
    device: DeviceOption = "auto",
    inception: Annotated[
        Path | None,
        typer.Option(
            help="Score models of colour images by InceptionV3 too, as published FID and Inception "
            "Scores are: its weights, the file pt_inception-2015-12-05-6726825d.pth. Samples as "
            "uint8 against the whole training set; TensorFlow 1's bilinear resize to 299 pixels; "
            "2048 pooled features for FID, logits without bias in 10 splits for the Inception "
            "Score. Published CIFAR-10 numbers use --samples 50000. Needs torch-fidelity."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score what models draw and reconstruct, and write the scores into their cards.

    Generated images are compared with real ones by a judge, a classifier trained here, so the
    scores compare these models with one another only; --inception adds those that published ones
    compare with. The same seed gives the same scores.
    Exits with 1 where a model could not be scored; the others are scored all the same.
    """
    from training.scoring import score_folders

    console.quiet = as_json
    try:
        scored, failed = score_folders(
            folders, samples, seed, data=data, images=images, device=device, inception=inception
        )
    except ValueError as error:
        fail(str(error))
    if as_json:
        print(json.dumps({name: s.model_dump() for name, s in scored.items()}, indent=1))
    for name, problem in failed.items():
        errors.print(f"[red]failed[/]  {escape(name)}: {escape(problem)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def report(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of checkpoints. Default: the shipped ones.")
    ] = None,
) -> None:
    """Write README.md and report.json of a folder of checkpoints: every model and its scores."""
    from training.report import write

    try:
        written = write(folder or _shipped())
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}")
    for path in written:
        console.print(f"[green]{escape(str(path))}[/]", soft_wrap=True)


@app.command()
def keep(
    folders: Annotated[
        list[Path], typer.Argument(help="Checkpoint folders that have been scored.")
    ],
    into: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints that receives them. Default: the shipped ones."),
    ] = None,
) -> None:
    """Keep the results of models too large to ship: card, losses and picture, without weights.

    They go into the folder's `results`, where the report and the app's page of the reports find
    them. Exits with 1 where one was refused; the others are kept all the same.
    """
    from training import results
    from training.checkpoint import CheckpointError

    root = into or _shipped()
    failed = False
    for folder in folders:
        try:
            card = results.keep(folder, root)
        except CheckpointError as error:
            failed = True
            errors.print(f"[red]refused[/]  {escape(str(error))}", soft_wrap=True)
        except OSError as error:
            fail(f"{root} cannot be written: {error.strerror}")
        else:
            console.print(f"[green]kept[/]     {escape(card.name)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def bench(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(help="Names of recipes. Default: those of MNIST that laptops train."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.05, help="How long each loop trains in a round.")
    ] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, the loops taking turns.")] = 3,
    data: DataOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how fast training is here, beside the loop that tutorials write.

    That loop is a DataLoader over torchvision's data set, float32, a loss read at every step;
    VAEs are measured under pythae's trainer too where it is installed. Same network, same batch
    size, turn by turn in one process. Trains for nothing and writes no file.
    """
    from training import bench as benchmark
    from training.data import DataError, data_root
    from training.devices import describe_device, out_of_memory, pick_device

    found: list[benchmark.Speed] = []
    try:
        chosen = [by_name(name) for name in recipes or benchmark.DEFAULT]
        where = pick_device(device)
    except ValueError as error:
        fail(str(error))
    console.quiet = as_json
    console.print(f"On {escape(describe_device(where))}:")
    try:
        for recipe in chosen:
            with console.status(recipe.name) as status:

                def tell(what: str, status=status, name=recipe.name) -> None:
                    status.update(f"{name}: {what}")

                found.append(
                    benchmark.bench(
                        recipe, data_root(data), where, seconds=seconds, rounds=rounds, tell=tell
                    )
                )
            _tell_speed(found[-1])
    except (DataError, ValueError) as error:
        fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        name = chosen[len(found)].name
        fail(f"there is not enough memory for {name}: use --device cpu, or other recipes")
    if as_json:
        where_json = {"device": describe_device(where), "seconds": seconds, "rounds": rounds}
        print(json.dumps(where_json | {"recipes": [vars(one) for one in found]}, indent=1))


def _tell_speed(speed: Speed) -> None:
    """One line per recipe."""
    loops = "; ".join(
        f"{speed.ratios[name]:.2f} times {name}'s {images:,.0f}"
        for name, images in speed.images_per_second.items()
        if name in speed.ratios
    )
    console.print(
        f"[bold]{speed.recipe}[/]: {speed.images_per_second['ours']:,.0f} images/s, {loops}; "
        f"{speed.peak_memory / 1e9:.2f} GB; {speed.share_of_peak:.0%} of a matrix product's speed",
        soft_wrap=True,
    )


@app.command()
def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A checkpoint folder, or a folder of them. Default: the shipped ones."),
    ] = None,
) -> None:
    """Check card, size, hash, tensor names, shapes and finiteness of every checkpoint.

    ONNX decoders beside them are checked too, and tried on a few latents. Exits with 1 where any
    fails; the others are checked all the same.
    """
    from training import results
    from training.checkpoint import CheckpointError, find, load
    from training.onnx_files import open_any

    def whole(path: Path) -> str:
        opened = open_any(path)
        opened.atlas()
        opened.history()
        opened.batch_losses()
        for epoch in opened.timeline():
            load(path, epoch=epoch)
        return f"{len(opened.card.files)} files"

    def without_weights(path: Path) -> str:
        results.read(path)
        return "results, without weights"

    root = folder or _shipped()
    checks = dict.fromkeys([root] if (root / "card.json").exists() else find(root), whole)
    checks |= dict.fromkeys(results.find(root), without_weights)
    if not checks:
        fail(f"there are no checkpoints in {root}")
    failed = 0
    for path, check in checks.items():
        try:
            line = f"[green]ok[/]      {escape(str(path))}: {check(path)}"
        except CheckpointError as error:
            failed += 1
            line = f"[red]failed[/]  {escape(str(path))}: {escape(error.check)}"
        console.print(line, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command("export")
def export_decoder(
    model: Annotated[
        str,
        typer.Argument(help="A checkpoint folder, or the name of one shipped or in runs."),
    ],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="As ONNX: the one format there is, so also without it.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that receives decoder.onnx and card.json. Default: MODEL-onnx."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an ONNX decoder that is there.")
    ] = False,
) -> None:
    """Write what a model decodes with as an ONNX file, for other programs.

    Inputs are z, float32 (n, d), and for conditional models class, int64 (n,); the output is
    image, float32 (n, C, H, W) in [0, 1]. The file is checked against the checkpoint before it
    is written. The app opens such folders too.
    """
    from training.checkpoint import CheckpointError, load
    from training.onnx_files import export

    source = _found(model)
    out = out or Path(f"{source.name}-onnx")
    _check_export(out, overwrite)
    try:
        card = export(load(source), out)
    except (CheckpointError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}")
    size = sum(file.size for file in card.files.values())
    console.print(
        f"[green]{escape(str(out))}[/] decodes as {escape(model)} does: {size / 1e6:.1f} MB.",
        soft_wrap=True,
    )


def _shipped() -> Path:
    """The folder of checkpoints that the environment names, else the project's."""
    from training.checkpoint import shipped

    return Path(os.environ.get("LATENT_CHECKPOINTS") or shipped())


def _found(model: str) -> Path:
    """The checkpoint folder at a path, or else of that name, shipped or in runs."""
    folders = (Path(model), _shipped() / model, Path("runs") / model)
    found = next((folder for folder in folders if (folder / "card.json").exists()), None)
    if found is None:
        fail(f"there is no checkpoint {model}: name a folder, or one that is shipped or in runs")
    return found.resolve()


def _check_export(out: Path, overwrite: bool) -> None:
    """Fail where a folder is there that must not be replaced."""
    from training.onnx_files import is_foreign

    if not (out.exists() or out.is_symlink()):
        return
    if not is_foreign(out):
        fail(f"{out} is not an ONNX decoder's folder, so it is left alone: pass another --out")
    if not overwrite:
        fail(f"{out} is already there: pass --overwrite to replace it, or another --out")


@app.command()
def download(
    dataset: Annotated[
        str, typer.Argument(help="mnist (11 MB), cifar10 (170 MB) or imagenette (99 MB).")
    ] = "mnist",
    data: DataOption = None,
) -> None:
    """Download a data set into the data folder, with checksums."""
    from training.data import DataError, data_root
    from training.download import download as fetch

    root = data_root(data)
    tasks: dict[str, TaskID] = {}
    try:
        with Progress(console=console) as progress:

            def show(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total or None)
                progress.update(tasks[name], completed=done)

            fetch(dataset, root, show)
    except DataError as error:
        fail(str(error))
    console.print(f"[green]{dataset}[/] is in {escape(str(root))}")


if __name__ == "__main__":
    sys.exit(app())
