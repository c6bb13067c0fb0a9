"""Thresholds from the calibration rows near a new one, with coverage for any bandwidth."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks
from estimators._core._blocks import map_blocks
from estimators.conformal._guarantee import EXCHANGEABLE, Guarantee
from estimators.conformal._thresholds import Thresholds

BLOCK = 32  # rows; each needs a few numbers for every calibration row


class LocalThresholds(Thresholds):
    """By a Gaussian kernel about a point that is drawn near the row.

    Attributes:
        scores: `(ends, n)`, each in order.
        points: `(ends, n, d)`, in the same order, in units of the bandwidth.
        bandwidth: `(d,)`, standard deviation of the kernel.
    """

    scores: Float[Array, "ends n"]
    points: Float[Array, "ends n d"]
    bandwidth: Float[Array, " d"]
    needs = frozenset({"points", "key"})

    def at(self, shape, where, coverage):
        """See `Thresholds`.

        Weights about the row itself would depend on it and on the others in different ways.
        About a drawn point, all rows and the new one are treated alike.
        """
        points = checks.as_queries("points", where.points, self.bandwidth.shape[0])
        if points.shape[:-1] != shape:
            raise ValueError(
                f"points must have shape {(*shape, self.bandwidth.shape[0])}, one a row; got "
                f"shape {points.shape}"
            )
        dtype = self.scores.dtype
        rows = points.astype(dtype).reshape(-1, self.bandwidth.shape[0]) / self.bandwidth[None]
        # Drawn in 32 bits, so that a key draws the same points in either precision.
        noise = jax.random.normal(checks.as_key(where.key), rows.shape, jnp.float32).astype(dtype)
        found = _thresholds(self, rows, noise, jnp.asarray(float(coverage), dtype))
        return found.reshape(*shape, -1)

    def reason(self, coverage):
        """See `Thresholds`."""
        return "a row gets the infinite set where it has more weight than those near it allow"

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        over = "calibration and new rows, and the points drawn"
        given = f"{EXCHANGEABLE}, and a bandwidth that was not chosen with them"
        return Guarantee(asked, asked, None, "at least", over, given)


def local_thresholds(scores, points, bandwidth) -> LocalThresholds:
    """Check points, and put them in the order of the scores, `(n, ends)`."""
    points = checks.as_points("points", points)
    n, d = points.shape
    if n != scores.shape[0]:
        raise ValueError(f"points must have {scores.shape[0]} rows, as y; got shape {points.shape}")
    bandwidth = checks.positive("bandwidth", checks.as_float("bandwidth", bandwidth))
    if bandwidth.shape not in ((), (d,)):
        raise ValueError(f"bandwidth must have shape () or ({d},); got shape {bandwidth.shape}")
    bandwidth = jnp.broadcast_to(bandwidth.astype(scores.dtype), (d,))
    valid = (bandwidth > 0).all() & jnp.isfinite(points).all() & ~jnp.isnan(scores).any()
    order = jnp.argsort(scores.T, axis=1)
    ordered = jnp.take_along_axis(scores.T, order, 1)
    scaled = (points.astype(scores.dtype) / bandwidth[None])[order]
    return checks.poison(LocalThresholds(ordered, scaled, bandwidth), valid)


@jax.jit
def _thresholds(local: LocalThresholds, rows, noise, coverage):
    ends = local.scores.shape[0]

    def block(arrays):
        rows, noise = arrays
        centres = rows + noise
        own = -0.5 * jnp.sum(noise**2, -1)  # log weight of the row itself

        def one_end(points, scores):
            gap = points[None] - centres[:, None]
            near = -0.5 * jnp.sum(gap**2, -1)
            top = jnp.maximum(jnp.max(near, 1), own)
            reached = jnp.cumsum(jnp.exp(near - top[:, None]), 1)
            total = reached[:, -1] + jnp.exp(own - top)
            # As many as fall short: the first that does not is the threshold. Less a little, as
            # equal weights must not miss their rank by the rounding of a sum.
            slack = 16 * jnp.finfo(scores.dtype).eps
            place = jnp.sum(reached < ((coverage - slack) * total)[:, None], 1)
            found = jnp.append(scores, jnp.inf)[place]
            return jnp.where(jnp.isnan(total), jnp.nan, found)

        found = [one_end(local.points[end], local.scores[end]) for end in range(ends)]
        return jnp.stack(found, -1)

    return map_blocks(block, (rows, noise), BLOCK)
