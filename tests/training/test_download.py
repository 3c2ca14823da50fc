import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR10, MNIST, Imagenette

from training.data import DataError
from training.download import download

SIZE = 200_000
Serve = Callable[..., str]


def nothing(*_: object) -> None:
    """No progress bar."""


def left_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word, and names that start with "short" without their second half."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.name.startswith("short"):
            return super().do_GET()
        blob = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        self.wfile.write(blob[: len(blob) // 2])
        return None


@pytest.fixture
def site(tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is served."""
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def publish(site, monkeypatch) -> Serve:
    """``publish(dataset, blob, name=..., md5=...)`` makes torchvision's class point to it."""
    folder, address = site

    def put(dataset: str, blob: bytes, name: str = "archive.tgz", md5: str = "") -> str:
        (folder / name).write_bytes(blob)
        url = f"{address}/{name}"
        md5 = md5 or hashlib.md5(blob, usedforsecurity=False).hexdigest()
        if dataset == "cifar10":
            monkeypatch.setattr(CIFAR10, "url", url)
            monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
        else:
            monkeypatch.setitem(Imagenette._ARCHIVES, "160px", (url, md5))
        return url

    return put


FOLDERS = {"cifar10": "cifar-10-batches-py", "imagenette": "imagenette2-160"}
archives = pytest.mark.parametrize("dataset", FOLDERS)


@archives
def test_an_archive_is_fetched_checked_and_unpacked(publish, root, dataset):
    noise = bytes(i * i % 251 for i in range(SIZE))
    files = {f"{FOLDERS[dataset]}/{name}": noise for name in ("one", "deep/er/two")}
    blob = tar_of(files)
    publish(dataset, blob)
    calls: list[tuple[str, int, int]] = []
    download(dataset, root, lambda *progress: calls.append(progress))
    assert left_in(root) == sorted(files)
    assert all((root / name).read_bytes() == noise for name in files)
    assert [path.name for path in root.iterdir()] == [FOLDERS[dataset]]
    assert calls == sorted(calls)
    assert calls[-1] == ("archive.tgz", len(blob), len(blob))


@archives
def test_what_is_there_is_not_fetched_again(publish, root, dataset):
    (root / FOLDERS[dataset]).mkdir(parents=True)
    publish(dataset, b"no archive")
    download(dataset, root, nothing)
    assert left_in(root) == []


@archives
@pytest.mark.parametrize("name", ["archive.tgz", "short.tgz"])
def test_a_damaged_archive_leaves_nothing(publish, root, dataset, name):
    blob = tar_of({f"{FOLDERS[dataset]}/one": b"one"})
    md5 = "0" * 32 if name == "archive.tgz" else ""
    url = publish(dataset, blob, name, md5)
    with pytest.raises(DataError) as raised:
        download(dataset, root, nothing)
    assert list(root.iterdir()) == []
    message = str(raised.value)
    assert f"{url}: " in message
    assert f"fetch {url}; here, unpack it so that there is {root / FOLDERS[dataset]}" in message


@archives
def test_without_a_network_the_way_by_hand_is_told(publish, root, dataset, monkeypatch):
    publish(dataset, b"")
    closed = "http://127.0.0.1:1/archive.tgz"
    monkeypatch.setattr(CIFAR10, "url", closed)
    monkeypatch.setitem(Imagenette._ARCHIVES, "160px", (closed, "0" * 32))
    with pytest.raises(DataError, match="could not be downloaded") as raised:
        download(dataset, root, nothing)
    assert f"fetch {closed}" in str(raised.value)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "blob",
    [
        b"no archive at all",
        tar_of({"imagenette2-160/one": b"one", "../escaped": b"two"}),
        tar_of({"imagenette2-160/one": b"one", "imagenette2-160/../../escaped": b"two"}),
        tar_of({"another-folder/one": b"one"}),
        tar_of({"imagenette2-160/one": b"1" * 999})[:-30],
    ],
    ids=["text", "outside", "outside later", "other folder", "cut off"],
)
def test_an_archive_that_cannot_be_unpacked_leaves_nothing(publish, root, blob):
    publish("imagenette", blob)
    with pytest.raises(DataError, match="could not be unpacked"):
        download("imagenette", root, nothing)
    assert list(root.iterdir()) == []
    assert not (root.parent / "escaped").exists()


def test_an_interrupted_download_leaves_nothing(publish, root):
    publish("imagenette", tar_of({"imagenette2-160/one": b"one"}))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("imagenette", root, interrupt)
    assert list(root.iterdir()) == []


def test_a_data_folder_that_cannot_be_made_is_named(root):
    root.write_text("a file")
    for dataset in ("mnist", "cifar10", "imagenette"):
        with pytest.raises(DataError) as raised:
            download(dataset, root, nothing)
        assert str(root) in str(raised.value)


@pytest.mark.parametrize("dataset", ["ring8", "grid25"])
def test_mixtures_need_no_download(root, dataset):
    with pytest.raises(DataError, match="generated"):
        download(dataset, root, nothing)


def test_an_unknown_name_lists_those_that_exist(root):
    with pytest.raises(DataError, match="mnist, cifar10, imagenette"):
        download("cifar100", root, nothing)


@pytest.fixture
def mirror(site, monkeypatch) -> Path:
    """One packed file on the second of two mirrors, instead of MNIST's four on the network."""
    folder, address = site
    packed = gzip.compress(b"digits")
    (folder / "digits.gz").write_bytes(packed)
    monkeypatch.setattr(MNIST, "mirrors", [f"{address}/gone/", f"{address}/"])
    md5 = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(MNIST, "resources", [("digits.gz", md5)])
    return folder


def test_mnist_is_unpacked_from_the_first_mirror_that_answers(mirror, root):
    calls: list[tuple[str, int, int]] = []
    download("mnist", root, lambda *progress: calls.append(progress))
    raw = root / "MNIST" / "raw"
    assert [path.name for path in raw.iterdir()] == ["digits"]
    assert (raw / "digits").read_bytes() == b"digits"
    size = (mirror / "digits.gz").stat().st_size
    assert calls[-1] == ("digits.gz", size, size)


def test_mnist_that_does_not_match_its_checksum_is_dropped(mirror, root):
    (mirror / "digits.gz").write_bytes(gzip.compress(b"others"))
    with pytest.raises(DataError, match="checksum") as raised:
        download("mnist", root, nothing)
    assert str(root / "MNIST" / "raw") in str(raised.value)
    assert list((root / "MNIST" / "raw").iterdir()) == []


def test_only_what_is_missing_of_mnist_is_fetched(mirror, root):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "digits").write_bytes(b"there before")
    download("mnist", root, nothing)
    assert (raw / "digits").read_bytes() == b"there before"
