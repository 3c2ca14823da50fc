"""Checks a stranger's decoder and runs it once, in a process of its own that may come to grief.

``python -m training.onnx_trial '{"latent_dim": 2, ...}'`` reads an ONNX file from standard input,
checks it (`training.onnx_checks`) and decodes a few latents, under a limit of memory and time:
even to infer the shapes of a hostile file can take all memory there is. It prints a line of JSON,
a `Trial` or ``{"error": "..."}``, and after it the model that may be opened.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.children import PROJECT
from training.onnx_checks import DECODER, checked

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ROWS = 16
"""Latents decoded at once, at most."""
SIZES = (1, 3, ROWS)
"""Batches that are tried."""
MEMORY_BYTES = 4 << 30
"""Address space of the trial, and on top eight times the file, which is copied as it is checked."""
SECONDS = 60
"""How long the trial may take."""

Images = NDArray[np.float32]


class TrialError(ValueError):
    """A decoder failed a check or could not be run; the message is one sentence."""


@dataclass(frozen=True)
class Trial:
    """What a decoder that passed every check drew from random latents."""

    channels_last: bool
    """Whether images are (n, H, W, C), as Keras has them, and not (n, C, H, W)."""
    shapes: list[list[int]]
    """Shape of the output for each batch of `SIZES`; none where it was only checked."""
    finite: bool
    """Whether all of it is finite."""
    low: float
    """The smallest number."""
    high: float
    """The largest number."""
    apart: float
    """How far the first image moves when others are decoded beside it."""


def session(model: bytes, threads: int) -> InferenceSession:
    """An onnxruntime session on the CPU, which takes ``model`` for ONNX whatever it looks like."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; warnings would fill the terminal
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads that spin between two images would take the cores that the browser paints with.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(opened: InferenceSession, z: Images, y: NDArray[np.int64] | None) -> Images:
    """Decode latents (n, d), with classes (n,) where the model takes them."""
    feed = {"z": z} if y is None else {"z": z, "class": y}
    (images,) = opened.run(None, feed)
    return np.asarray(images)


def attempt(
    blob: bytes,
    latent_dim: int,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    draw: bool = True,
) -> tuple[Trial, bytes]:
    """Check the bytes of a file and, unless told not to ``draw``, run it, in a process apart.

    Returns what came of it, and the model that may be opened. Raises TrialError where a check
    fails, or where it crashes or takes too much memory or time.
    """
    asked = {
        "latent_dim": latent_dim,
        "num_classes": num_classes,
        "image_shape": image_shape,
        "draw": draw,
        "memory": MEMORY_BYTES + 8 * len(blob),
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "training.onnx_trial", json.dumps(asked)],
            input=blob,
            capture_output=True,
            cwd=PROJECT,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TrialError(f"{DECODER} takes over {SECONDS} seconds to check and try") from None
    except OSError as error:
        raise TrialError(f"{DECODER} could not be tried: {error}") from error
    line, _, model = ended.stdout.partition(b"\n")
    try:
        answer = json.loads(line)
    except ValueError:
        raise TrialError(
            f"{DECODER} ended the process that tried it (exit status {ended.returncode})"
        ) from None
    if "error" in answer:
        raise TrialError(answer["error"])
    return Trial(**answer), model


def _limit(memory: int) -> None:
    """Bound memory and processor time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows has none: there the time alone is bounded
        return
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, 2 * SECONDS)):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def _check_and_try(blob: bytes, asked: dict[str, Any]) -> tuple[Trial, bytes]:
    """Check a file and decode random latents in batches of `SIZES`; raises ValueError."""
    latent_dim, num_classes = asked["latent_dim"], asked["num_classes"]
    model, channels_last = checked(blob, latent_dim, num_classes, tuple(asked["image_shape"]))
    z = np.random.default_rng(0).standard_normal((ROWS, latent_dim)).astype(np.float32)
    y = np.arange(ROWS, dtype=np.int64) % num_classes if num_classes else None
    drawn: list[Images] = []
    if asked["draw"]:
        try:
            opened = session(model, 1)
            drawn = [run(opened, z[:n], None if y is None else y[:n]) for n in SIZES]
        except Exception as error:  # onnxruntime's errors have no common type of their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{DECODER} cannot be run: {reason}") from error
    finite = all(bool(np.isfinite(images).all()) for images in drawn)
    seen = finite and all(images.size for images in drawn) and bool(drawn)
    trial = Trial(
        channels_last=channels_last,
        shapes=[list(images.shape) for images in drawn],
        finite=finite,
        low=min(float(images.min()) for images in drawn) if seen else 0.0,
        high=max(float(images.max()) for images in drawn) if seen else 0.0,
        apart=max(_apart(images, drawn[0]) for images in drawn) if seen else 0.0,
    )
    return trial, model


def _apart(images: Images, alone: Images) -> float:
    """Largest difference of the first image from the one decoded alone."""
    same = images.shape[1:] == alone.shape[1:]
    return float(np.abs(images[0] - alone[0]).max()) if same else 0.0


def main() -> None:
    """Check and try the model on standard input."""
    asked = json.loads(sys.argv[1])
    _limit(asked["memory"])
    answer: dict[str, Any]
    model = b""
    try:
        trial, model = _check_and_try(sys.stdin.buffer.read(), asked)
        answer = asdict(trial)
    except ValueError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"{DECODER} takes over {asked['memory'] >> 30} GB to check and try"}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + model)


if __name__ == "__main__":
    main()
