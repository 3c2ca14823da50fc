"""What is selected on the map: an image beside its reconstruction, or a sample; and its like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from explorer import catalog, gallery, latent, pictures, resources
from explorer.layout import Layout
from explorer.pages import parts
from training.onnx_files import AnyCard

NEIGHBOURS = 8
LARGE = 64
"""Pixels from which an image is a photograph."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of a model."""

    name: str
    """Name of the model."""
    card: AnyCard
    """Its card."""
    layout: Layout
    """Its codes in the plane chosen."""
    source: str
    """What the codes are of: a gallery's source, "test" for other images, "drawn" for samples."""
    images: gallery.Gallery | None
    """The real images, where they are those of the codes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that marks are coloured by."""
        return self.images.data.classes if self.images else self.card.classes


def neighbours(shown: Shown, selected: int) -> np.ndarray:
    """Marks nearest to the selected one, itself left out: by their codes, or as the judge sees."""
    if shown.source == "drawn":
        return shown.layout.neighbours(selected, NEIGHBOURS)
    code = shown.layout.codes[selected]
    near = resources.code_index(shown.name).neighbours(code, NEIGHBOURS + 1)
    return near[near != selected][:NEIGHBOURS]


def show(shown: Shown, selected: int, near: np.ndarray) -> None:
    """Draw the mark ``selected``, or say how to select one, and the marks ``near`` it."""
    if selected < 0:
        st.info("Click a mark to see what is behind it.", icon=":material/ads_click:")
    elif shown.source == "drawn":
        _show_sample(shown, selected, near)
    else:
        _show_image(shown, selected, near)


def _show_image(shown: Shown, selected: int, near: np.ndarray) -> None:
    """A real image beside its reconstruction, and its nearest neighbours."""
    code, labels = shown.layout.codes[selected], shown.layout.labels
    named = catalog.plain(shown.classes[labels[selected]])
    st.markdown(f"**Selected**: a real {named}{_place(shown, selected)}.")
    left, right = st.columns(2)
    if shown.images:
        parts.show(left, shown.images.pixels(selected), "original", "selected-original")
    reconstruction = parts.decode(shown.name, code[None])[0]
    parts.show(right, reconstruction, "reconstruction", "selected-reconstruction")
    st.markdown("**Its nearest neighbours** by the distance of their codes")
    _row(shown, _images(shown, near), near)


def show_nearest(shown: Shown, z: latent.Array) -> None:
    """Draw the real images whose codes are nearest to z (d,), and say how near they are."""
    index = resources.code_index(shown.name)
    near = index.neighbours(z, NEIGHBOURS)
    nearest = float(np.linalg.norm(shown.layout.codes[near[0]] - z))
    kind = parts.kind(shown.card)
    st.markdown(f"**The nearest real {kind}** by the distance of their codes")
    _row(shown, _images(shown, near), near)
    st.markdown(how_near(nearest, int(index.density(z[None])[0]), index.radius, kind))


def how_near(nearest: float, count: int, radius: float, kind: str) -> str:
    """A code's distance from the nearest real one, and how many lie within ``radius``, in words."""
    usual = f"around half of the real {kind} it is 20 or more"
    if count:
        return (
            f"The nearest code is {nearest:.2f} away. {count:,} lie within {radius:.2f} of this "
            f"place; {usual}."
        )
    return (
        f":material/explore_off: **Far from every real code**: the nearest is {nearest:.2f} away. "
        f"None lies within {radius:.2f} of this place; {usual}. What the decoder draws here is its "
        "own invention, and the classes of the neighbours say little."
    )


def _images(shown: Shown, marks: np.ndarray) -> pictures.Pixels:
    """Real images (n, H, W, C) of the marks, or where they are not here, reconstructions."""
    if shown.images:
        return np.stack([shown.images.pixels(i) for i in marks])
    return parts.decode(shown.name, shown.layout.codes[marks])


def _place(shown: Shown, selected: int) -> str:
    """Where the selected image's code is, and how well the encoder knows it."""
    if shown.images is None or shown.card.latent_dim != 2:
        return ""
    z, sigma = shown.layout.codes[selected], resources.spread(shown.name, selected)
    return (
        f", at z = ({z[0]:.2f}, {z[1]:.2f}), known to the encoder within "
        f"±({sigma[0]:.2f}, {sigma[1]:.2f}) — the ellipses on the map, at one and two standard "
        "deviations"
    )


def _show_sample(shown: Shown, selected: int, near: np.ndarray) -> None:
    """A sample, and those that look most like it to the judge."""
    laid_out, names = shown.layout, [catalog.plain(one) for one in shown.classes]
    asked = "" if laid_out.asked is None else f", asked for {names[laid_out.asked[selected]]}"
    read = names[laid_out.labels[selected]]
    st.markdown(f"**Selected**: sample {selected:,}{asked}; the judge reads {read}.")
    drawn = _draw(shown, np.concatenate([[selected], near]))
    parts.show(st, drawn[0], "sample", "selected-sample")
    st.markdown("**Its nearest neighbours** in the plane: what the judge finds alike")
    _row(shown, drawn[1:], near)


def _draw(shown: Shown, marks: np.ndarray) -> pictures.Pixels:
    """Samples (n, H, W, C) of the marks, each asked for its own class."""
    asked, k = shown.layout.asked, shown.card.num_classes
    weights = None if asked is None else np.eye(k, dtype=np.float32)[asked[marks]]
    return parts.decode(shown.name, shown.layout.codes[marks], weights)


def _row(shown: Shown, pixels: pictures.Pixels, marks: np.ndarray) -> None:
    names = [shown.classes[label] for label in shown.layout.labels[marks]]
    named = (", " if any(len(name) > 1 for name in names) else " ").join(names)
    caption = f"classes {named}"
    whole = pictures.sheet(pixels, 4) if _tall(pixels) else pictures.row(pixels)
    parts.picture(st, whole, f"nearest: {caption}", caption)


def _tall(pixels: pictures.Pixels) -> bool:
    """Whether images are photographs that eight abreast would make tiny, and fill whole rows."""
    return pixels.shape[1] >= LARGE and len(pixels) % 4 == 0
