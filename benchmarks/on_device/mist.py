"""Estimates of mutual information by the shipped network, many data sets at once.

There is no peer: another library has neither the features nor the network.
"""

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.on_device.timing import Context, Jax, attempt, timed

ROWS, TINY = (100, 500, 1000, 5000), (40,)
BATCH, TINY_BATCH = 64, 3
COLUMNS, CORRELATION = 2, 0.6
# The information of each pair of columns.
INFORMATION = -0.5 * COLUMNS * math.log(1 - CORRELATION**2)
PART = 512  # rows that the network reads at once


def records(context: Context) -> Iterator[dict]:
    """One record for each number of rows."""
    batch = TINY_BATCH if context.tiny else BATCH
    for n in TINY if context.tiny else ROWS:
        record = {
            "piece": "mist",
            "sizes": {"n": n, "batch": batch},
            "library": "estimators",
            "label": "estimators",
        }
        yield attempt(record, lambda n=n: _measure(n, batch))


def _measure(n: int, batch: int) -> dict:
    import jax
    import jax.numpy as jnp

    from estimators import information

    keys = jax.random.split(jax.random.key(0))
    shape = (batch, n, COLUMNS)
    x, noise = (jax.random.normal(key, shape) for key in keys)
    y = CORRELATION * x + math.sqrt(1 - CORRELATION**2) * noise
    estimator = information.MIST()

    @jax.jit
    def values(estimator, x, y):
        return jax.vmap(lambda x, y: estimator.estimate(x, y).value)(x, y)

    result, found = timed(lambda: values(estimator, x, y), Jax())
    needs = {name: batch * need for name, need in needs_of(estimator.network, n).items()}
    error = float(jnp.std(result)) / math.sqrt(batch)
    return {
        **found,
        "rate": batch / found["median"],
        "unit": "estimates/s",
        "needs": needs,
        "difference": abs(float(jnp.mean(result)) - INFORMATION),
        "standard_error": error,
        "equal": bool(np.isfinite(np.asarray(result)).all()),
    }


def needs_of(network, n: int) -> dict[str, float]:
    """What one estimate needs at least.

    Kernels of both variables at each pair of rows of a part, three times (all columns, and two
    choices of one): an exponential each, then at every scale three sums, a product and the
    squarings that lead to the next. And the network's matrices, once for each order of x and y.
    """
    import jax

    parts = math.ceil(n / PART)
    pairs = parts * math.ceil(n / parts) ** 2
    of_scales = 12 * (3 + 1 + 2) + 2 * 6 * (3 + 1 + 4)
    # The first axis of a weight is that of the heads.
    weights = sum(leaf.size for leaf in jax.tree.leaves(network.heads) if leaf.ndim == 3)
    return {
        "exponentials": 3.0 * 2 * pairs,
        "elementwise": float(of_scales * pairs),
        "product": 2.0 * 2 * parts * weights,
    }
