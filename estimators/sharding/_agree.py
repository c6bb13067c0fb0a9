"""What all processes of a run agree on."""

import jax
import numpy as np


def on_any_process(condition: bool) -> bool:
    """Whether it holds on one of the processes; every one of them must ask."""
    if jax.process_count() == 1:
        return condition
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(condition)).any())
