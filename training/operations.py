"""Floating-point operations of a recipe's training step: what a device's speed is held against."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training import networks, steps
from training.recipes import Recipe

BATCH = 4
"""Images of the steps that are counted: batch statistics need several."""


@cache
def per_image(recipe: Recipe) -> float:
    """Operations of matrix products and convolutions for each image that ``recipe`` trains on.

    Counted over as many steps as it takes for every player to move once, on shapes alone: no
    memory is taken, and no work is done.
    """
    taken = getattr(recipe.objective, "critic_steps", 1)
    recipe = replace(recipe, bf16=False)
    with torch.device("meta"):
        network = networks.build(recipe.network).train()
        x, y = torch.empty(BATCH, *recipe.network.image_shape), torch.empty(BATCH).long()
    step = steps.make_step(recipe, network, steps.make_optimizers(recipe, network))
    # Not in that context: Adam's count of steps, which it reads, would have no value there.
    with Counter() as counted:
        for i in range(taken):
            step(x, y, i)
    return counted.total / (taken * BATCH)


class Counter(TorchDispatchMode):
    """Adds up the operations of what is called inside it, by torch's own formulas.

    torch's FlopCounterMode also watches modules, and cannot do so in a double backward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Carry out one operation, and add up what it takes."""
        made = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=made)
        return made
