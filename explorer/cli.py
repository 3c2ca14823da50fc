"""``latent-explorer``: start the app and open it in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from explorer.settings import PROJECT
from training.children import UNTIL_EOF, at_eof


def _run(
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            envvar="LATENT_CHECKPOINTS",
            help="Folder of checkpoint folders. Default: the shipped ones.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="LATENT_DATA",
            help="Folder that holds MNIST/raw. Default: data in the project's folder.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            envvar="LATENT_IMAGES",
            help="Folder of your own pictures that models were trained on by "
            "`latent-train fit --images`.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser window.")
    ] = True,
    until_eof: Annotated[
        bool, typer.Option(UNTIL_EOF, hidden=True, help="End when standard input closes.")
    ] = False,
) -> None:
    """Open the latent explorer on this computer."""
    if until_eof:
        at_eof(lambda: os._exit(0))
    if checkpoints is not None and (checkpoints / "card.json").exists():
        raise typer.BadParameter(
            f"{checkpoints} is one checkpoint: name the folder that holds it, "
            f"--checkpoints {checkpoints.resolve().parent}"
        )
    given = {"LATENT_CHECKPOINTS": checkpoints, "LATENT_DATA": data, "LATENT_IMAGES": images}
    for variable, folder in given.items():
        if folder is not None:
            if not folder.is_dir():
                raise typer.BadParameter(f"there is no folder {folder}")
            os.environ[variable] = str(folder.resolve())
    os.chdir(PROJECT)  # Streamlit reads its configuration from the working directory

    from explorer.app import app

    app.run(config={"server.port": port, "server.headless": not browser})


def main() -> None:
    """Entry point of the console script."""
    typer.run(_run)


if __name__ == "__main__":
    main()
