"""Which hypotheses of a family to reject, so that no true one is, with a probability."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks


def bonferroni_test(
    p_values: Real[ArrayLike, " m"], level: Real[ArrayLike, ""]
) -> Bool[Array, " m"]:
    """Reject where `p <= level / m`.

    Args:
        p_values: `(m,)`, in [0, 1], of any dependence.
        level: the largest probability that a true hypothesis is rejected, in (0, 1).

    Returns:
        `(m,)`, true where the hypothesis is rejected. That of a NaN inside jit is not.

    Raises:
        ValueError: for another shape, p-values outside [0, 1] or a level outside (0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> print(conformal.bonferroni_test(jnp.array([0.01, 0.04, 0.2]), 0.1))
        [ True False False]

    When it fails: never as control; `holm_test` rejects all that this does, and more.
    """
    p = _as_p_values(p_values, level)
    return p <= level / p.shape[0]


def holm_test(p_values: Real[ArrayLike, " m"], level: Real[ArrayLike, ""]) -> Bool[Array, " m"]:
    """Reject from the smallest p-value up, while the k-th is at most `level / (m - k + 1)`.

    Args:
        p_values: `(m,)`, in [0, 1], of any dependence.
        level: as in `bonferroni_test`, and the same control.

    Returns:
        `(m,)`, true where the hypothesis is rejected.

    Raises:
        ValueError: as `bonferroni_test`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> print(conformal.holm_test(jnp.array([0.01, 0.04, 0.2]), 0.1))
        [ True  True False]

    Reference: Holm 1979, A simple sequentially rejective multiple test procedure.

    When it fails: with hundreds of hypotheses it gains little over Bonferroni; an order that is
    known in advance gains much, see `fixed_sequence_test`.
    """
    p = _as_p_values(p_values, level)
    ordered = jnp.sort(p)
    left = jnp.arange(p.shape[0], 0, -1).astype(p.dtype)
    passed = jnp.cumprod((ordered <= level / left).astype(jnp.int32)).sum()
    # Of equal p-values the later ones have the larger levels: they pass together.
    return (passed > 0) & (p <= ordered[jnp.maximum(passed - 1, 0)])


def fixed_sequence_test(
    p_values: Real[ArrayLike, " m"], level: Real[ArrayLike, ""], *, starts: int = 1
) -> Bool[Array, " m"]:
    """Reject in the order given, while `p <= level / starts`, and stop at the first that is not.

    Args:
        p_values: `(m,)`, in [0, 1], of any dependence, in an order that does not depend on them:
            the hypotheses most likely to be false come first.
        level: as in `bonferroni_test`, and the same control.
        starts: from how many places to start, evenly spaced and each with its share of the level,
            so that one failure does not end it all.

    Returns:
        `(m,)`, true where the hypothesis is rejected.

    Raises:
        ValueError: as `bonferroni_test`, and for more starts than p-values.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p = jnp.array([0.01, 0.08, 0.2, 0.01])
        >>> print(conformal.fixed_sequence_test(p, 0.1))
        [ True  True False False]
        >>> print(conformal.fixed_sequence_test(p, 0.1, starts=4))
        [ True False False  True]

    Reference: Angelopoulos, Bates, Candes, Jordan & Lei 2021, algorithm 1.

    When it fails: where the first hypothesis is true, nothing that follows can be rejected.
    """
    p = _as_p_values(p_values, level)
    m = p.shape[0]
    if checks.integer("starts", starts, at_least=1) > m:
        raise ValueError(f"starts must be at most {m}, the number of p-values; got {starts}")
    place = jnp.arange(m, dtype=jnp.int32)
    first = np.zeros(m, bool)
    first[np.arange(starts) * m // starts] = True
    start = jax.lax.cummax(jnp.where(first, place, 0))
    stopped = jax.lax.cummax(jnp.where(p <= level / starts, -1, place))
    # A run that comes from further back has passed the nearest start.
    return stopped < start


def graphical_test(
    p_values: Real[ArrayLike, " m"],
    level: Real[ArrayLike, ""],
    *,
    weights: Real[ArrayLike, " m"],
    transitions: Real[ArrayLike, "m m"],
) -> Bool[Array, " m"]:
    """Reject where `p <= weight level`, and hand the weight of what is rejected on, along a graph.

    Holm is the graph of equal weights and transitions, the fixed sequence a chain with all the
    weight on its first member, and a chain with weight elsewhere too the fallback procedure.

    Args:
        p_values: `(m,)`, in [0, 1], of any dependence.
        level: as in `bonferroni_test`, and the same control.
        weights: `(m,)`, not negative, with a sum of at most 1: the share of the level that each
            starts with.
        transitions: `(m, m)`, not negative, with a diagonal of 0 and sums along rows of at most
            1: the share of its weight that each row hands to each column.

    Returns:
        `(m,)`, true where the hypothesis is rejected. Graphs that are refused outside jit reject
        nothing inside.

    Raises:
        ValueError: as `bonferroni_test`, and for weights or transitions that are not as above.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p, chain = jnp.array([0.04, 0.09, 0.2]), jnp.eye(3, k=1)
        >>> weights = jnp.array([0.5, 0.5, 0.0])
        >>> print(conformal.graphical_test(p, 0.1, weights=weights, transitions=chain))
        [ True  True False]

    Reference: Bretz, Maurer, Brannath & Posch 2009, algorithm 1.

    When it fails: weights and transitions that were chosen after a look at the p-values control
    nothing. It takes O(m^2) for each rejection.
    """
    p = _as_p_values(p_values, level)
    m = p.shape[0]
    weights = checks.as_vector("weights", weights, length=m).astype(p.dtype)
    graph = checks.finite("transitions", checks.as_float("transitions", transitions))
    if graph.shape != (m, m):
        raise ValueError(f"transitions must have shape ({m}, {m}); got shape {graph.shape}")
    graph = graph.astype(p.dtype)
    above = 1 + 16 * jnp.finfo(p.dtype).eps

    def shares(weights, graph):
        rows = (graph >= 0).all() & (graph.sum(1) <= above).all() & (jnp.diag(graph) == 0).all()
        return rows & (weights >= 0).all() & (weights.sum() <= above)

    known = checks.is_concrete(weights) and checks.is_concrete(graph)
    if known and not checks.holds(shares, weights, graph):
        raise ValueError(
            "weights and each row of transitions must not be negative, with a sum of at most 1, "
            f"and transitions from a member to itself must be 0; got weights of sum "
            f"{float(np.asarray(weights).sum()):g}, rows of sum up to "
            f"{float(np.asarray(graph).sum(1).max()):g} and a least entry of "
            f"{min(float(np.asarray(weights).min()), float(np.asarray(graph).min())):g}"
        )
    return _reject_along(p, jnp.asarray(level, p.dtype), weights, graph) & shares(weights, graph)


@jax.jit
def _reject_along(p, level, weights, graph):
    def open_ones(state):
        weights, _, rejected = state
        return ~rejected & (p <= weights * level)

    def reject(state):
        weights, graph, rejected = state
        one = jnp.argmax(open_ones(state))
        out, into = graph[one], graph[:, one]
        rejected = rejected.at[one].set(True)
        weights = jnp.where(rejected, 0, weights + weights[one] * out)
        # Through the one that goes, and not back to where it came from.
        back = 1 - into * out
        through = (graph + into[:, None] * out[None]) / jnp.where(back > 0, back, 1)[:, None]
        kept = (back > 0)[:, None] & ~rejected[:, None] & ~rejected[None]
        return weights, jnp.where(kept & ~jnp.eye(p.shape[0], dtype=bool), through, 0), rejected

    start = weights, graph, jnp.zeros(p.shape, bool)
    return jax.lax.while_loop(lambda state: open_ones(state).any(), reject, start)[2]


def _as_p_values(p_values, level) -> Float[Array, " m"]:
    checks.probability("level", level)
    return checks.as_unit("p_values", checks.as_vector("p_values", p_values))
