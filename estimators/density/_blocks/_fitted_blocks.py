"""FittedBlockKDE: a kernel density whose points stay where they are, read at every call."""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks, whiten
from estimators.density._fitted import FittedKDE, KDEInfo, log_volume, sum_of_part
from estimators.density._kernels import Kernel
from estimators.sharding._block_moments import weighted
from estimators.sharding._blocks import Blocks, pipelined


@dataclasses.dataclass(frozen=True, eq=False)
class FittedBlockKDE:
    """A kernel density estimate on `sharding.Blocks`; see `KDE`.

    It holds no points: each call reads them once, whatever the number of queries, so ask for all
    queries in one call. Memory is that of three blocks and of the queries. It is not a pytree
    and not for `jax.jit`, `jax.vmap` or `jax.grad`: a compiled program cannot read a file. Its
    sums over a block are compiled, once for all blocks.

    Attributes:
        points: the rows.
        weights: their weights; None where they are equal.
        bandwidth: as in `FittedKDE`.
        location: `(d,)`, the weighted mean that is subtracted.
        factor: `(d, d)`, lower Cholesky factor of the kernel's covariance.
        kernel: the kernel's shape.
        info: diagnostics, see `KDEInfo`.
        count: how many rows there are.
        total_weight: sum of the weights.
    """

    points: Blocks
    weights: Blocks | None
    bandwidth: Float[Array, "..."]
    location: Float[Array, " d"]
    factor: Float[Array, "d d"]
    kernel: Kernel
    info: KDEInfo
    count: int
    total_weight: float

    def log_density(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch"]:
        """Log density at `x`, `(*batch, d) -> (*batch,)`, in nats a unit of volume.

        The sums of the blocks are merged in float64 on the host: the error is that of one block.

        Raises:
            ValueError: if the last axis is not d, `x` is not finite or traced by jax, or the
                rows are not those that were fitted any more.
        """
        return self._merged(x, slope=False)[0]

    def score(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch d"]:
        """Gradient of the log density at `x`, `(*batch, d) -> (*batch, d)`.

        The scores of the blocks, weighted by their shares of the density.
        """
        return self._merged(x, slope=True)[1]

    def _merged(self, x, *, slope: bool):
        x = checks.as_queries("x", x, self.location.shape[0])
        if not checks.is_concrete(x):
            raise ValueError(
                "x must be known: the points of a FittedBlockKDE are read from outside, which "
                "jax.jit, jax.vmap and jax.grad cannot do. Call it outside; any batch shape works, "
                "and the gradient is .score(x)"
            )
        queries = x.reshape(-1, x.shape[-1])
        of_block = functools.partial(_of_block, self._without_points(), queries, slope=slope)
        total, gradient = np.full(queries.shape[0], -np.inf), np.zeros(queries.shape)
        dtype = x.dtype
        for value, score in pipelined(of_block, self._read()):
            dtype = value.dtype
            merged = np.logaddexp(total, value.astype(np.float64))
            # Out of a compact kernel's reach both are -inf: the gradient is zero by convention.
            reached = np.where(np.isneginf(merged), 0, merged)
            before, own = np.exp(total - reached), np.exp(value - reached)
            if slope:
                gradient = before[:, None] * gradient + own[:, None] * score
            total = merged
        return (
            jnp.asarray(total.astype(dtype).reshape(x.shape[:-1])),
            jnp.asarray(gradient.astype(dtype).reshape(x.shape)),
        )

    def _read(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks of rows, and their log weights."""
        for block, weights in weighted(self.points, self.weights, self.count):
            with np.errstate(divide="ignore"):
                log_weights = np.log(weights.astype(np.float64) / self.total_weight)
            yield block.values, log_weights.astype(weights.dtype)

    def _without_points(self) -> FittedKDE:
        nothing = jnp.zeros((0, self.location.shape[0]), self.location.dtype)
        return FittedKDE(
            bandwidth=self.factor,  # no sum reads it; of one shape it is one program for all
            points=nothing,
            widths=None,
            log_weights=nothing[:, 0],
            rows=None,
            labels=jnp.zeros(0, jnp.int32),
            location=self.location,
            factor=self.factor,
            kernel=self.kernel,
            info=self.info,
            placement=None,
        )


@functools.partial(jax.jit, static_argnames="slope")
def _of_block(fitted: FittedKDE, x, rows, log_weights, *, slope: bool):
    """What one block gives to the log density at `x`, and that part's gradient if asked for."""
    centres = fitted.info.shrinkage * whiten(rows, fitted.location, fitted.factor)
    part = dataclasses.replace(fitted, points=centres, log_weights=log_weights)

    def log_density(x):
        queries = whiten(x, fitted.location, fitted.factor)
        return sum_of_part(part, queries) - log_volume(fitted)

    if not slope:
        return log_density(x), ()
    value, pull = jax.vjp(log_density, x)
    return value, pull(jnp.ones_like(value))[0]
