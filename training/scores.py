"""What every score of a card means, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SAMPLES = 10_000
"""Images drawn from a model, and training images that they are compared with."""


@dataclass(frozen=True)
class Score:
    """What a score means to people."""

    title: str
    """Its name."""
    says: str
    """One sentence: what it measures."""
    better: Literal["higher", "lower", "real"]
    """Which way is better; "real": as close to that of real images as can be."""


SCORES: dict[str, Score] = {
    "inception_score": Score(
        "Inception Score (judge)",
        "Sure of each image and even over all classes, by the judge: from 1 to the number of "
        "classes.",
        "higher",
    ),
    "inception_score_std": Score(
        "± (Inception Score)", "Its standard deviation over ten splits.", "lower"
    ),
    "frechet": Score(
        "Fréchet distance (judge)",
        "Between Gaussians fitted to the judge's features of samples and of training images.",
        "lower",
    ),
    "kernel": Score(
        "Kernel distance (judge)",
        "Maximum mean discrepancy of the judge's features, cubic kernel.",
        "lower",
    ),
    "kernel_std": Score("± (kernel distance)", "Its standard deviation over subsets.", "lower"),
    "inception_v3_fid": Score(
        "FID (InceptionV3)",
        "Fréchet distance of InceptionV3's features of samples and of the whole training set, as "
        "published ones are: those for CIFAR-10 are of 50,000 samples.",
        "lower",
    ),
    "inception_v3_is": Score(
        "Inception Score (InceptionV3)",
        "Of InceptionV3's 1,008 classes, as published ones are.",
        "higher",
    ),
    "inception_v3_is_std": Score(
        "± (Inception Score, InceptionV3)", "Its standard deviation over ten splits.", "lower"
    ),
    "precision": Score(
        "Precision", "Share of samples that lie among real images. Blur can raise it.", "higher"
    ),
    "recall": Score("Recall", "Share of real images that lie among samples.", "higher"),
    "density": Score("Density", "How densely real images surround the samples.", "higher"),
    "coverage": Score("Coverage", "Share of real images with a sample close by.", "higher"),
    "confidence": Score("Confidence", "How sure the judge is of its reading, on average.", "real"),
    "class_entropy": Score(
        "Class entropy", "Of the classes that the judge reads, in nats.", "real"
    ),
    "class_distance": Score(
        "Distance from even classes", "Total variation; 0 where all are as frequent.", "real"
    ),
    "largest_class": Score(
        "Largest class", "Share of the class that the judge reads most often.", "real"
    ),
    "class_agreement": Score(
        "Class agreement", "Share of samples read as the class that was asked for.", "higher"
    ),
    "class_agreement_worst": Score(
        "Class agreement, worst class", "The same, of the class it does worst.", "higher"
    ),
    "modes": Score("Modes", "How many of the data's modes the samples reach.", "higher"),
    "high_quality": Score(
        "High quality", "Share of samples within three deviations of a mode.", "higher"
    ),
    "sharpness": Score("Sharpness", "Variance of the Laplacian, over that of real images.", "real"),
    "high_frequency": Score(
        "High frequencies", "Energy above a quarter cycle per pixel, over real images'.", "real"
    ),
    "diversity": Score(
        "Diversity", "Mean distance of two samples, over that of two real images.", "real"
    ),
    "nearest_training": Score(
        "Nearest training image",
        "Mean distance to it, over that of test images: near 0 for copies. Blur lowers it too.",
        "real",
    ),
    "negative_elbo": Score("Test negative ELBO", "Reconstruction + KL, in nats an image.", "lower"),
    "reconstruction": Score("Reconstruction", "Its first part, in nats an image.", "lower"),
    "kl": Score("KL", "Its second part: what the code carries, in nats.", "real"),
    "importance_bound": Score(
        "Importance-weighted bound",
        "Of the negative log-likelihood, tighter than the ELBO, in nats: 50 codes for each of 500 "
        "test images.",
        "lower",
    ),
    "mse": Score("Reconstruction MSE", "Mean squared error of a pixel in [0, 1].", "lower"),
    "ssim": Score("Reconstruction SSIM", "Structural similarity, at most 1.", "higher"),
    "reconstruction_sharpness": Score(
        "Sharpness of reconstructions", "Variance of the Laplacian, over the originals'.", "real"
    ),
}
"""Every score of a card, by name, in the order in which people read them."""
