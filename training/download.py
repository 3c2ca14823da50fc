"""Fetch data sets, whole or not at all, from where torchvision says they are, with its MD5 sums."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from training.data import DATASETS, DataError
from training.mixtures import MIXTURES

OnBytes = Callable[[str, int, int], None]


def download(dataset: str, root: Path, on_bytes: OnBytes) -> None:
    """Fetch a data set, one of ``training.data.DATASETS``, into ``root``; nothing if it is there.

    ``on_bytes(file, done, total)`` is called as bytes arrive; total is 0 where it is unknown.
    Raises DataError, saying what to do by hand, if the network fails or a file arrives damaged.
    """
    match dataset:
        case "mnist" | "stacked-mnist":  # the one is made of the other
            download_mnist(root, on_bytes)
        case "cifar10":
            download_cifar10(root, on_bytes)
        case "imagenette":
            download_imagenette(root, on_bytes)
        case _ if dataset in MIXTURES:
            raise DataError(f"{dataset} is generated where it is used: nothing to download.")
        case _:
            raise DataError(f"There is no data set {dataset!r}: choose one of {_names()}.")


def _names() -> str:
    return ", ".join(name for name in DATASETS if name not in MIXTURES)


def download_mnist(root: Path, on_bytes: OnBytes) -> None:
    """MNIST (11 MB) into ``root/MNIST/raw``, file by file, from the first mirror that works."""
    from torchvision.datasets import MNIST

    folder = root / "MNIST" / "raw"
    by_hand = f"Copy the four MNIST files into {folder} instead."
    for name, md5 in MNIST.resources:
        target = folder / name.removesuffix(".gz")
        if target.exists():
            continue
        with _temporary_folder(folder) as temporary:
            packed, unpacked = temporary / name, temporary / target.name
            addresses = [mirror + name for mirror in MNIST.mirrors]
            _fetch_intact(addresses, md5, packed, on_bytes, by_hand)
            try:
                with gzip.open(packed) as source, unpacked.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                unpacked.replace(target)
            except OSError as error:
                raise DataError(f"{name} could not be unpacked into {folder}: {error}") from error


def download_cifar10(root: Path, on_bytes: OnBytes) -> None:
    """CIFAR-10 (170 MB) into ``root/cifar-10-batches-py``."""
    from torchvision.datasets import CIFAR10

    _download_archive(CIFAR10.url, CIFAR10.tgz_md5, root / CIFAR10.base_folder, on_bytes)


def download_imagenette(root: Path, on_bytes: OnBytes) -> None:
    """Imagenette with a shorter side of 160 pixels (99 MB) into ``root/imagenette2-160``."""
    from torchvision.datasets import Imagenette

    # Private, but the only place from which address and sum can be had without the archive.
    url, md5 = Imagenette._ARCHIVES["160px"]
    _download_archive(url, md5, root / "imagenette2-160", on_bytes)


def _download_archive(url: str, md5: str, target: Path, on_bytes: OnBytes) -> None:
    """Fetch and unpack a tar file that holds one folder, ``target.name``."""
    if target.exists():
        return
    by_hand = (
        f"On a computer with a network, fetch {url}; here, unpack it so that there is {target}."
    )
    with _temporary_folder(target.parent) as temporary:
        archive = temporary / url.rsplit("/")[-1]
        _fetch_intact([url], md5, archive, on_bytes, by_hand)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(
                    temporary, filter="data"
                )  # nothing outside, no devices, no links out
            (temporary / target.name).replace(target)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(f"{url} could not be unpacked into {target}: {error}") from error


@contextmanager
def _temporary_folder(beside: Path) -> Iterator[Path]:
    """A folder in ``beside``, so on its disk, which goes with all that was left in it."""
    try:
        beside.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(dir=beside, prefix=".download-")
    except OSError as error:
        raise DataError(f"{beside} cannot be written to: {error.strerror}.") from error
    with temporary as name:
        yield Path(name)


def _fetch_intact(
    addresses: Sequence[str], md5: str, path: Path, on_bytes: OnBytes, by_hand: str
) -> None:
    """Save to ``path`` from the first address that has the file with this MD5 sum."""
    failures: list[str] = []
    for url in addresses:
        try:
            if _fetch(url, path, partial(on_bytes, path.name)) != md5:
                raise OSError("the checksum does not match")
            return
        except (OSError, HTTPException) as error:  # URLError is an OSError
            failures.append(f"{url}: {error}")
    raise DataError(f"{path.name} could not be downloaded ({'; '.join(failures)}). {by_hand}")


def _fetch(url: str, path: Path, on_bytes: Callable[[int, int], None]) -> str:
    """Save what is at ``url`` and return its MD5 sum."""
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=20) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(1 << 16):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            on_bytes(done, total)
    return digest.hexdigest()
