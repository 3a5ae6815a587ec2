"""Index arithmetic on arrays."""

import numpy as np

from offload_platform.simulator.randomness import Integers


def owners(count: Integers) -> tuple[Integers, Integers]:
    """For things of which each owner has as many as `count` says: the owner of each, and its number among them."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
