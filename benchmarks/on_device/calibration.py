"""The conformal quantile of very many scores, by selection and by sorting."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.on_device.timing import Context, Jax, attempt, timed

COVERAGE = 0.9
SCORES, TINY = 10_000_000, 20_000
SETS = 4  # read in turn: one alone would stay in a large cache


def records(context: Context) -> Iterator[dict]:
    """One record for each way to the quantile."""
    import jax
    import jax.numpy as jnp

    from estimators import conformal

    n = TINY if context.tiny else SCORES
    generator = np.random.default_rng(4)
    sets = [generator.standard_normal(n, np.float32) for _ in range(SETS)]
    rank = conformal.conformal_rank(n, COVERAGE)
    exact = [float(np.partition(scores, rank - 1)[rank - 1]) for scores in sets]

    def quantile(scores):
        return conformal.conformal_quantile(scores, COVERAGE)

    by_sort = jax.jit(lambda scores: jnp.sort(scores)[rank - 1])
    ways: list[tuple] = [
        ("estimators", "estimators", Jax(), jnp.asarray, quantile),
        ("estimators", "estimators, inside jit", Jax(), jnp.asarray, jax.jit(quantile)),
        ("jax", "jax.numpy.sort", Jax(), jnp.asarray, by_sort),
    ]
    for peer in context.peers[:1]:
        for name, method in ((peer.selection, peer.selected), (peer.sorting, peer.sorted)):
            call = lambda scores, method=method: method(scores, rank)  # noqa: E731
            ways.append((peer.name, f"{peer.name}.{name}", peer, peer.array, call))
    for library, label, runtime, array, call in ways:
        record = {
            "piece": "calibration",
            "sizes": {"n": n},
            "library": library,
            "label": label,
        }
        yield attempt(
            record,
            lambda runtime=runtime, array=array, call=call: _measure(
                call, [array(scores) for scores in sets], runtime, exact
            ),
        )


def _measure(call: Callable, sets, runtime, exact) -> dict:
    turn = itertools.cycle(sets)
    _, found = timed(lambda: call(next(turn)), runtime)
    gap = max(abs(float(call(scores)) - value) for scores, value in zip(sets, exact, strict=True))
    n = sets[0].shape[0]
    return {
        **found,
        "rate": n / found["median"],
        "unit": "scores/s",
        "needs": {"bytes": 4.0 * n},
        "difference": gap,
        "equal": gap == 0,
    }
