"""FID and Inception Score by InceptionV3, to be held against published ones.

The protocol: samples rounded to uint8 against the whole training set; both resized to 299 pixels
by TensorFlow 1's bilinear rule, and read by InceptionV3 with TensorFlow's weights of 2015-12-05
(torch-fidelity's extractor, float32). FID (Heusel et al. 2017, arXiv:1706.08500) is of the 2048
pooled features, the Inception Score (Salimans et al. 2016, arXiv:1606.03498) of the logits
without bias, in 10 splits. Published numbers for CIFAR-10 are of 50,000 samples; FID falls with
their number. Everything stays in memory; no picture is written.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.metrics import given, inception_score

if TYPE_CHECKING:
    from torchmetrics.image.fid import FrechetInceptionDistance

    from training.evaluation import Tell

WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the file of weights, which carries its beginning in its name."""
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{WEIGHTS}"
SPLITS = 10
"""Parts of the samples over which the Inception Score is taken."""
BATCH = 50
"""Images that are read at a time."""


@dataclass(frozen=True)
class Inception:
    """InceptionV3 and what it made of a training set, once for all the models compared with it."""

    network: nn.Module
    """Reads images (n, 3, H, W), uint8, as features (n, width) and logits (n, k)."""
    distance: FrechetInceptionDistance
    """Holds the training set's statistics, and takes those of one model's samples at a time."""


def open_network(path: Path, device: torch.device) -> nn.Module:
    """InceptionV3 with the weights of the file at ``path``, whose hash is checked first.

    Raises ValueError, saying what to do, where the file or torch-fidelity is missing or wrong.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ValueError(
            "--inception needs a package that is not installed: pip install torch-fidelity"
        ) from None
    # The extractor unpickles whatever it is handed: a copy written here, of nothing but tensors.
    copy = io.BytesIO()
    torch.save(_weights(path), copy)
    copy.seek(0)
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=copy
    )
    return network.to(device).eval()  # torch-fidelity 0.3 leaves that to who asks


def _weights(path: Path) -> dict[str, Tensor]:
    """Tensors of the published file, and of no other, by torch's reader for tensors alone."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: download InceptionV3's weights from {URL}")
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
                raise ValueError(
                    f"{path} is not {WEIGHTS}: its SHA-256 is not {SHA256[:8]}...; download it "
                    f"from {URL}"
                )
            file.seek(0)
            return torch.serialization.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def read_training(
    network: nn.Module, images: Tensor, tell: Tell, *, batch: int = BATCH
) -> Inception:
    """Take the statistics of all training images (n, 3, H, W), uint8."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    width = _read(network, images[:1])[0].shape[1]
    distance = FrechetInceptionDistance(feature=given(width), reset_real_features=False)
    for i, some in enumerate(images.split(batch)):
        distance.update(_read(network, some)[0], real=True)
        tell("reading training images by InceptionV3", i * batch + len(some), len(images))
    return Inception(network, distance)


def inception_scores(
    inception: Inception, batches: Iterable[Tensor], n: int, tell: Tell, *, batch: int = BATCH
) -> dict[str, float]:
    """FID and Inception Score of ``n`` images that come in batches (b, 3, H, W) in [0, 1]."""
    inception.distance.reset()  # the training set's statistics stay
    logits: list[Tensor] = []
    for x in batches:
        for some in (x * 255).round().byte().split(batch):
            features, of_classes = _read(inception.network, some)
            inception.distance.update(features, real=False)
            logits.append(of_classes)
        tell("reading samples by InceptionV3", sum(map(len, logits)), n)
    score, std = inception_score(torch.cat(logits), min(SPLITS, n))
    return {
        "inception_v3_fid": float(inception.distance.compute()),
        "inception_v3_is": score,
        "inception_v3_is_std": std,
    }


@torch.inference_mode()
def _read(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features in float64 and logits, on the CPU: not every GPU has numbers that long."""
    features, logits = network(x)
    return features.cpu().double(), logits.cpu()
