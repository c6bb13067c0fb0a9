"""The newest scores, in order of size: a conformal quantile at any level is one look-up."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Stored


class Window(Stored):
    """The last scores, by age and by size; what is not filled yet is +inf.

    Attributes:
        recent: `(window,)`, oldest first; in a run, where the series has them, the oldest alone.
        ordered: `(window,)`, the same scores, sorted.
        held: how many scores there are.
    """

    recent: Float[Array, " known"]
    ordered: Float[Array, " window"]
    held: Int[Array, ""]

    def push(self, score: Float[Array, ""]) -> "Window":
        """The window with one more score, and without its oldest where it was full."""
        oldest, edge = self.recent[0], jnp.full(1, jnp.inf, score.dtype)
        padded = jnp.concatenate([-edge, self.ordered, edge])
        before, here, after = padded[:-2], padded[1:-1], padded[2:]
        # Each place from its neighbours alone, so that all are one pass: without the oldest, the
        # entry of a place and the one before it; then the new score between them, if it falls so.
        entry = jnp.where(here < oldest, here, after)
        previous = jnp.where(before < oldest, before, here)
        inserted = jnp.maximum(previous, jnp.minimum(entry, score))
        recent = jnp.concatenate([self.recent[1:], score[None]])
        return Window(recent, inserted, jnp.minimum(self.held + 1, inserted.shape[0]))

    def aged(self, recent: Float[Array, " known"], held: Int[Array, ""]) -> "Window":
        """The same window with what is to be known of its scores by age, and their number."""
        return Window(recent, self.ordered, held)

    def quantile(self, levels: Float[Array, "*levels"]) -> Float[Array, "*levels"]:
        """The conformal quantile at levels that move: rank `ceil((n + 1) level)` of the n held.

        +inf where that rank is above n, so at a level of 1 and more; -inf where it is below 1, at
        a level of 0 and less. Four units of rounding of the level are forgiven, so that a level
        written as a decimal has the rank of the decimal.
        """
        size = (self.held + 1).astype(self.ordered.dtype)
        slack = 4 * jnp.finfo(self.ordered.dtype).eps
        rank = jnp.ceil(size * (levels - slack))
        place = jnp.clip(rank, 1, self.ordered.shape[0]).astype(jnp.int32) - 1
        found = jnp.where(rank < 1, -jnp.inf, self.ordered[place])
        found = jnp.where(rank >= size, jnp.inf, found)
        return jnp.where(jnp.isnan(levels), jnp.nan, found)

    def share_below(self, score: Float[Array, ""]) -> Float[Array, ""]:
        """The largest level at which the quantile misses the score: its rank less 1, by n + 1."""
        below = jnp.sum(self.ordered < score)
        return (below / (self.held + 1)).astype(self.ordered.dtype)


def sliding(greater: Callable, series: Float[Array, " n"], width: int) -> Float[Array, " windows"]:
    """The largest number of each window of a series, or the smallest by `jnp.minimum`.

    Windows of twice the width from pairs of windows; O(n log(width)).
    """
    found, reach, count = series, 1, series.shape[0] - width + 1
    while 2 * reach <= width:
        found, reach = greater(found[:-reach], found[reach:]), 2 * reach
    return greater(found[:count], found[width - reach :][:count])


def filled(scores: Float[Array, " n"], window: int) -> Window:
    """A window that holds the last of the scores, oldest first."""
    kept = scores[max(scores.shape[0] - window, 0) :]
    empty = jnp.full(window - kept.shape[0], jnp.inf, scores.dtype)
    recent = jnp.concatenate([empty, kept])
    return Window(recent, jnp.sort(recent), jnp.asarray(kept.shape[0], jnp.int32))
