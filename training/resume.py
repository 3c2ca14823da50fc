"""The state of a run on disk, so that Ctrl-C, a kill or a reboot costs seconds of training.

One safetensors file beside the checkpoint folder, replaced atomically: weights, averages,
optimisers, random states, the place in the data and all results so far. On the CPU a resumed run
is equal to the uninterrupted one, bit for bit. It is for this purpose only and never shipped.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from training.checkpoint import partial
from training.devices import random_states, set_random_states
from training.files import replace_file
from training.pace import Pace
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.loop import Session


class ResumeError(Exception):
    """A saved run is missing, damaged, or another one; the message says what to do."""


WORDS = {"title", "report", "row"}
"""What a recipe is called, which changes nothing of its course."""


def state_path(folder: Path) -> Path:
    """Where the state of the run that fills ``folder`` is kept."""
    return folder.with_name(f"{folder.name}.state")


def states(folder: Path) -> list[Path]:
    """The saved runs that fill ``folder``: first one that has yet to catch up with what it holds.

    That one's state lies beside its checkpoint so far (see `checkpoint.partial`).
    """
    return [path for path in map(state_path, (partial(folder), folder)) if path.exists()]


@dataclass
class Saver:
    """Saves a session to ``path``, now and then (see `training.pace`)."""

    path: Path
    """The file written."""
    settings: dict[str, Any]
    """What a later call must agree with (see `settings_of`)."""
    pace: Pace = field(default_factory=lambda: Pace(30.0))
    """Half a minute is the most that a kill can cost; longer where saving is slow."""

    def save(self, session: Session, *, now: bool = False) -> None:
        """Save if it is time to, or ``now``. Raises OSError where the disk refuses."""
        if now or self.pace.due:
            with self.pace.measured():
                _write(self.path, pack(session), self.settings | progress_of(session))


def settings_of(recipe: Recipe, seed: int, data: str, world_size: int = 1) -> dict[str, Any]:
    """What decides a run's course, as JSON: recipe, seed, fingerprint of the data, processes."""
    plain = TypeAdapter(Recipe).dump_python(recipe, mode="json", exclude=WORDS)
    return {"recipe": plain, "seed": seed, "data_sha256": data, "processes": world_size}


def progress_of(session: Session) -> dict[str, Any]:
    """The part of a session that is numbers and names."""
    run = session.run
    return {
        "epochs": run.epochs,
        "steps": run.steps,
        "images_seen": run.images_seen,
        "seconds": run.seconds,
        "stopped": run.stopped,
        "history": run.history,
        "best": [run.best.epoch, run.best.value] if run.best else None,
        "judge": run.judged,
        "batch": session.batch,
        "counts": session.counts,
    }


def pack(session: Session) -> dict[str, Tensor]:
    """The part of a session that is tensors, under slash-separated names."""
    run = session.run
    tensors = {f"network/{k}": v for k, v in session.network.state_dict().items()}
    if session.average is not None:
        tensors |= {f"average/{k}": v for k, v in session.average.state_dict().items()}
    for player, optimizer in session.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{player}/{index}/{k}": v for k, v in values.items()}
    tensors |= {f"sums/{k}": v for k, v in session.sums.items()}
    tensors |= {f"recent/{k}": torch.stack(v) for k, v in session.recent.items()}
    tensors |= {f"batch_losses/{k}": v for k, v in run.batch_losses.items()}
    for epoch, weights in run.timeline.items():
        tensors |= {f"timeline/{epoch}/{k}": v for k, v in weights.items()}
    if run.best:
        tensors |= {f"best/{k}": v for k, v in run.best.weights.items()}
    tensors["random/order"] = session.epoch_order
    tensors |= {f"random/{k}": v for k, v in random_states(_device(session.network)).items()}
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}


def restore(path: Path, session: Session) -> None:
    """Bring ``session`` to where the run saved at ``path`` was. Raises ResumeError."""
    from training.loop import Best

    state, tensors = read(path)
    run, device = session.run, _device(session.network)
    try:
        groups = defaultdict(dict, _nested(tensors))
        session.network.load_state_dict(groups["network"])
        if session.average is not None:
            session.average.load_state_dict(groups["average"])
        for player, optimizer in session.optimizers.items():
            _load_optimizer(optimizer, _nested(groups["optimizer"]).get(player, {}))
        session.counts, session.batch = state["counts"], state["batch"]
        session.sums = {k: groups["sums"][k].to(device) for k in session.counts}  # in this order
        session.recent = {k: list(v.to(device)) for k, v in groups["recent"].items()}
        session.epoch_order = groups["random"]["order"]
        session.order.set_state(session.epoch_order)
        run.batch_losses = groups["batch_losses"]
        run.timeline = {int(k): v for k, v in _nested(groups["timeline"]).items()}
        for name in ("epochs", "steps", "images_seen", "seconds", "stopped", "history"):
            setattr(run, name, state[name])
        if state["best"]:
            epoch, value = state["best"]
            run.best = Best(epoch, value, groups["best"])
        run.judged = state.get("judge", run.judged)  # which older states do not name
        set_random_states(groups["random"], device)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ResumeError(f"{path} does not hold a whole run ({error}); {START_ANEW}") from error
    if (run.epochs, session.batch) > (run.planned, 0):
        least = run.epochs + (session.batch > 0)
        raise ResumeError(f"{path} is further on already: give --epochs {least} or more")


START_ANEW = "start anew without --resume, with --overwrite"


def chosen(folder: Path, settings: dict[str, Any]) -> tuple[Path, int]:
    """The run to go on with, of those that fill ``folder``, and the complete epochs it holds.

    Raises ResumeError, as `check` does, where none has these settings.
    """
    refused: list[ResumeError] = []
    for path in states(folder) or [state_path(folder)]:
        try:
            return path, check(path, settings)
        except ResumeError as error:
            refused.append(error)
    raise refused[0]


def check(path: Path, settings: dict[str, Any]) -> int:
    """Compare a saved run's settings with ``settings``; return the complete epochs it holds.

    Raises ResumeError, naming every difference, where it is another run.
    """
    state, _ = read(path, with_tensors=False)
    differing = list(_differences("", state, settings))
    if differing:
        raise ResumeError(
            f"{path} belongs to a run with other settings: {'; '.join(differing)}. "
            f"Give the same ones, or {START_ANEW}"
        )
    return state["epochs"]


def _differences(prefix: str, saved: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key, value in wanted.items():
        old = saved.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found += _differences(f"{prefix}{key}.", old, value)
        elif value != old:
            found.append(f"{prefix}{key} was {old}, is {value}")
    return found


def read(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A saved state's numbers and, where wanted, its tensors. Raises ResumeError."""
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {}).get("state", "null"))
            if not isinstance(state, dict) or not isinstance(state.get("epochs"), int):
                raise ValueError("it is not the state of a run")
            names = file.keys() if with_tensors else ()
            return state, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ResumeError(
            f"there is no run to resume: {path} is missing; start one without --resume"
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ResumeError(f"{path} cannot be read ({error}); {START_ANEW}") from error


def _write(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    replace_file(path, save_tensors(tensors, metadata={"state": json.dumps(state)}))


def _load_optimizer(optimizer: Optimizer, saved: dict[str, Tensor]) -> None:
    """Fill an optimiser's state; rates and betas are the recipe's, so they are its own already."""
    state = {int(index): tensors for index, tensors in _nested(saved).items()}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, tensors in optimizer.state.items():
        for name, tensor in tensors.items():
            if tensor.shape == parameter.shape:  # the layout too, or every later step is slower
                tensors[name] = torch.empty_like(parameter).copy_(tensor)


def _nested(flat: dict[str, Tensor]) -> dict[str, Any]:
    """{"a/b/c": t} -> {"a": {"b/c": t}}."""
    groups: dict[str, Any] = defaultdict(dict)
    for name, tensor in flat.items():
        first, rest = name.split("/", 1)
        groups[first][rest] = tensor
    return dict(groups)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
