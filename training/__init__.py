"""Offline training: real images in, small, safe, self-describing checkpoints out."""
