"""Log-densities of a kernel density estimate: the streaming log-sum-exp, and what it could be.

Beside the library's own call the same stream is timed in larger blocks: if those are faster, what
is lost is lost to the size of the blocks and not to XLA.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.on_device.forms import LogDensity
from benchmarks.on_device.timing import Budget, Context, Jax, attempt, once, rows_in_time, timed

BANDWIDTH = 0.5
CHECKED = 1000  # queries whose densities are compared with a float64 sum
TOLERANCE = 1e-3  # nats, of log-densities of -30 to -400 in float32
SIZES = tuple({"n": n, "m": n, "d": d} for n in (100_000, 1_000_000) for d in (16, 64))
TINY = ({"n": 2000, "m": 1500, "d": 4},)
# Rows of queries and of points: the library's own, and larger ones.
BLOCKS = ((512, 1024), (2048, 4096), (4096, 8192), (8192, 16_384))
TINY_BLOCKS = ((64, 128), (256, 512))
PROBED = 16_384  # queries of the first call, by which the time of all is foreseen


class Contender(NamedTuple):
    """One way to evaluate.

    Attributes:
        library: whose it is.
        label: its name in the table.
        runtime: how its calls are waited for.
        make: `make(points, blocks)` gives a function of queries on the device.
        array: puts queries there.
        numpy: brings densities back.
        blocks: to choose from; None for the library's own.
    """

    library: str
    label: str
    runtime: Any
    make: Callable
    array: Callable
    numpy: Callable
    blocks: tuple[tuple[int, int] | None, ...]


def records(context: Context) -> Iterator[dict]:
    """One record for each size and contender."""
    contenders = _contenders(context)
    left = len(contenders) * len(sizes := TINY if context.tiny else SIZES)
    for size in sizes:
        points, queries = _data(**size)
        exact = direct_sum(points, queries[:CHECKED])
        for contender in contenders:
            record = {
                "piece": "density",
                "sizes": size,
                "library": contender.library,
                "label": contender.label,
            }
            # What a hundred thousand points leave of their share goes to the million.
            share = Budget(context.budget.left / left)
            work = functools.partial(_measure, contender, points, queries, exact, share)
            yield attempt(record, work)
            left -= 1


def _measure(contender: Contender, points, queries, exact, share: Budget) -> dict:
    runtime, probed = contender.runtime, min(len(queries), PROBED)
    sample = contender.array(queries[:probed])
    tried = []
    for blocks in contender.blocks:
        call = contender.make(points, blocks)
        runtime.start_memory()
        first = once(lambda call=call: call(sample), runtime)[1]
        seconds = once(lambda call=call: call(sample), runtime)[1]
        tried.append((seconds, first, blocks, call, runtime.peak()))
    seconds, first, blocks, call, memory = min(tried, key=lambda entry: entry[0])
    m = rows_in_time(len(queries), probed, seconds, share.left)
    chosen = contender.array(queries[:m])
    result, found = timed(lambda: call(chosen), runtime)
    if m == probed:
        found["first_call"] = first  # compiled when it was probed
    # What the probe took JAX's mark shows no second time.
    found["memory"] = max(memory or 0, found["memory"] or 0) or None
    values = np.asarray(contender.numpy(result)[: len(exact)], np.float64)
    gap = float(np.abs(values - exact).max())
    n, d = points.shape
    return {
        **found,
        "queries_timed": m,
        "blocks": blocks,
        "rate": m * n / found["median"],
        "unit": "pairs/s",
        "needs": {"product": 2.0 * m * n * d, "exponentials": float(m * n)},
        "difference": gap,
        "equal": gap <= TOLERANCE,
    }


def _data(n, m, d):
    generator = np.random.default_rng(0)
    return tuple(generator.standard_normal((k, d), np.float32) for k in (n, m))


def _contenders(context: Context) -> list[Contender]:
    import jax.numpy as jnp

    blocks = TINY_BLOCKS if context.tiny else BLOCKS
    ours = functools.partial(Contender, "estimators", runtime=Jax(), array=jnp.asarray)
    found = [
        ours("estimators", make=library_call, numpy=np.asarray, blocks=(None,)),
        ours("estimators, best blocks", make=in_blocks, numpy=np.asarray, blocks=blocks),
    ]
    for peer in context.peers:
        # The compiler takes long for each shape: it gets the blocks that a GPU likes.
        its_blocks = blocks[-1:] if "compiled" in peer.label else blocks
        make = functools.partial(_of_peer, peer)
        found.append(
            Contender(peer.name, peer.label, peer, make, peer.array, peer.numpy, its_blocks)
        )
    return found


def _of_peer(peer, points, blocks):
    return LogDensity.of(peer, points, BANDWIDTH, blocks)


def library_call(points, _):
    """`FittedKDE.log_density`, as a user calls it."""
    from estimators import density

    return density.KDE(BANDWIDTH).fit(points).log_density


def in_blocks(points, blocks):
    """The library's streaming sum in blocks of another size."""
    import jax
    import jax.numpy as jnp

    from estimators import density
    from estimators._core import _log_sum_exp as stream
    from estimators._core import whiten
    from estimators._core._blocks import into_blocks, map_blocks

    rows, columns = blocks
    fitted = density.KDE(BANDWIDTH).fit(points)
    d = points.shape[1]
    constant = d * np.log(BANDWIDTH * np.sqrt(2 * np.pi))

    @jax.jit
    def log_density(fitted, queries):
        parts = stream.PointBlocks(
            into_blocks(fitted.points, size=columns),
            into_blocks(fitted.log_weights, size=columns, fill=-jnp.inf),
            None,
            None,
        )
        white = whiten(queries, fitted.location, fitted.factor)
        asked = stream.QueryBlock(white, jnp.ones_like(white[:, 0]), None)
        return map_blocks(lambda block: stream._block_sum(block, parts, None), asked, rows)

    return lambda queries: log_density(fitted, queries) - constant


def direct_sum(points, queries) -> np.ndarray:
    """Log-densities by differences in float64, on the device."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):

        @jax.jit
        def one_by_one(points, queries):
            def one(query):
                squares = jnp.sum((points - query[None]) ** 2, -1)
                return jax.nn.logsumexp(-0.5 * squares / BANDWIDTH**2)

            return jax.lax.map(one, queries)

        sums = one_by_one(jnp.asarray(points, jnp.float64), jnp.asarray(queries, jnp.float64))
        n, d = points.shape
        constant = np.log(n) + d * np.log(BANDWIDTH * np.sqrt(2 * np.pi))
        return np.asarray(sums) - constant
