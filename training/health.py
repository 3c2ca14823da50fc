"""Runs that collapse or diverge, recognised from their history, with the cure by name."""

from __future__ import annotations

from training.checkpoint import History

SURE = 0.05
"""Discriminator loss in nats below which the generator learns nothing more."""
ALIKE = 0.2
"""Diversity, relative to real images, below which samples are all alike."""


def diagnose(history: History) -> str:
    """What is wrong after the last epoch, and what to do about it; "" where nothing is."""
    last = {name: values[-1] for name, values in history["test"].items() if values}
    if last.get("diversity", 1.0) < ALIKE:
        return (
            f"mode collapse: samples differ {last['diversity']:.2g} times as much as real images. "
            "Try a larger generator, a smaller learning rate (--learning-rate), or a Wasserstein "
            "objective (for pictures of your own: --family wgan-gp)."
        )
    if last.get("discriminator", 1.0) < SURE:
        return (
            f"the discriminator has won (loss {last['discriminator']:.3f} nats): the generator has "
            "nothing to learn from. Try a smaller learning rate for the discriminator, label "
            "smoothing, or a Wasserstein objective (for pictures of your own: --family wgan-gp)."
        )
    if 0 <= last.get("kl", 1.0) < 0.01:
        return (
            f"posterior collapse: the code carries {last['kl']:.4f} nats, so every image is "
            "reconstructed alike. Try a smaller --beta."
        )
    return ""
