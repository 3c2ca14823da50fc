"""Which room may import what: pages -> components, resources -> catalog, live -> training."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def modules(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth, as a dotted name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def test_there_is_something_to_check():
    assert len(modules("training/**/*.py")) >= 10


@pytest.mark.parametrize("path", modules("training/**/*.py"), ids=lambda path: path.name)
def test_training_knows_neither_streamlit_nor_the_explorer(path):
    assert packages(path).isdisjoint({"streamlit", "explorer"})


@pytest.mark.parametrize(
    "path",
    modules("explorer/catalog.py", "explorer/latent.py", "explorer/live/**/*.py"),
    ids=lambda path: path.name,
)
def test_the_explorers_core_does_without_streamlit(path):
    assert "streamlit" not in packages(path)
    assert not any(
        name.startswith(("explorer.pages", "explorer.components")) for name in imported(path)
    )


@pytest.mark.parametrize("path", modules("explorer/**/*.py"), ids=lambda path: path.name)
def test_the_explorer_reads_checkpoints_only_through_training(path):
    assert packages(path).isdisjoint({"safetensors", "pickle"})
    assert "training.cli" not in imported(path)


@pytest.mark.parametrize("room", ["training", "explorer", "tests"])
def test_every_package_that_is_imported_is_asked_for(room):
    """By the project or an extra; the rival that `bench` measures is one's own to bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if room != "tests":
        extras.pop("test")
    asked_for = {
        one.partition(">=")[0]
        for group in (project["dependencies"], *extras.values())
        for one in group
    }
    known = importlib.metadata.packages_distributions()
    ours = {"training", "explorer", "tests", "pythae"} | sys.stdlib_module_names
    for path in modules(f"{room}/**/*.py"):
        for package in packages(path) - ours:
            names = {name.lower().replace("_", "-") for name in known[package]}
            assert asked_for & names, f"{path.name} imports {package}"


def declared(path: Path) -> list[str]:
    """Names that a script declares at its top level."""
    pattern = r"^(?:const|let|class|(?:async )?function) ([A-Za-z_]\w*)"
    return re.findall(pattern, path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", modules("explorer/components/*/*.js"), ids=lambda path: path.parent.name
)
def test_a_components_script_declares_nothing_that_the_shared_one_does(path):
    """A browser runs both as one."""
    together = {path, ROOT / "explorer" / "components" / "shared" / "live.js"}
    names = [name for one in together for name in declared(one)]
    assert len(names) > 20
    assert sorted(names) == sorted(set(names))


def test_no_name_is_undefined_and_no_import_unused():
    """Of ruff's rules those that do not change from release to release; editors run them all."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(ROOT)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_nothing_unpickles():
    for path in modules("training/**/*.py", "explorer/**/*.py"):
        assert packages(path).isdisjoint({"pickle", "dill", "joblib"})
        assert "torch.load(" not in path.read_text()
        if path.name != "inception.py":
            assert "torch.serialization" not in path.read_text()


def test_the_one_foreign_file_is_read_by_the_reader_for_tensors_after_its_hash():
    """InceptionV3's weights are published as a pickle: of that file alone, tensors alone."""
    source = (ROOT / "training" / "inception.py").read_text()
    assert source.count("torch.serialization.load(") == source.count("weights_only=True") == 1
    assert source.index("hexdigest() != SHA256") < source.index("torch.serialization.load(")
