"""Mutual information of continuous columns and a label (Ross 2014)."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Spec, checks
from estimators.information._estimate import (
    NO_LABEL_TWICE,
    OK,
    Estimate,
    as_pair,
    conclude,
    status_of,
)
from estimators.information._neighbours import _counting as counting
from estimators.information._neighbours._ksg import comparable
from estimators.information._neighbours._nearest import over_blocks
from estimators.sharding import Rows, whole


def _spaces(away):
    to_x, to_label, to_unique = away
    # A row whose label occurs once is at an infinite distance from every other.
    to_x = jnp.where(to_unique == 0, to_x, jnp.inf)
    to_label = jnp.where((to_label == 0) & (to_unique == 0), jnp.zeros_like(to_x), jnp.inf)
    return jnp.maximum(to_x, to_label), (to_x, to_label)


LABELLED = counting.Recipe(_spaces, (-1, -1), scarce=True)


class Ross(Spec):
    """Mutual information of continuous columns and a discrete label.

    Ross (2014): the radius of row i is the maximum-norm distance in x to its k-th neighbour
    among the rows with the same label. With `labelled` the number of rows with that label and
    `in_x` the number of other rows, of whatever label, strictly within the radius,

        I = psi(n) + mean(psi(k_i) - psi(labelled) - psi(in_x + 1))        [nats]

    where `k_i` is the smaller of k and `labelled - 1`. Rows whose label occurs once are left
    out. This is algorithm 1 of `KSG` where labels are infinitely far from each other.

    The columns of x are standardised first. The standard error is the delete-one jackknife:
    exact where every label has k + 2 rows or more. The radii of rarer labels are held fixed,
    and it is then too small: .08 in place of .20 with 7 of 120 rows in four such labels. Cost
    is O(n^2 (dx + k)) time, O(block) memory.

    Args:
        neighbours: k, static.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> key_label, key_x = jax.random.split(jax.random.key(0))
        >>> label = jax.random.randint(key_label, (400, 1), 0, 2)
        >>> x = 9 * label + jax.random.normal(key_x, (400, 1))
        >>> estimate = information.Ross().estimate(x, label)
        >>> print(f"{estimate.value:.1f}")  # x tells the label: log 2
        0.7

    When it fails: a label with few rows has no neighbours nearby, and the truth is
    underestimated. Numbers that are merely rounded are no labels: with nearly as many values as
    rows everything is left out (the value is NaN where no label occurs twice), use `KSG`. For
    columns that are partly discrete use `MixtureKSG`.
    """

    neighbours: int = eqx.field(default=3, static=True)

    def __check_init__(self):
        checks.integer("neighbours", self.neighbours, at_least=1)

    def estimate(
        self, x: Real[ArrayLike, "n dx"] | Rows, y: Real[ArrayLike, "n dy"] | Rows
    ) -> Estimate:
        """Estimate the mutual information of `x (n, dx)` and the label `y (n, dy)`, in nats.

        Rows of y that are equal are one label: it may have several columns.

        Raises:
            ValueError: for fewer than k + 2 rows, different numbers of rows or, outside jit, a
                constant column, a value that is not finite, or labels of which none occurs
                twice. Inside jit those give NaN.
        """
        x, y, layout = _pair(x, y, self.neighbours)
        return _estimate(x, y, self.neighbours, layout)


def ross(
    x: Real[ArrayLike, "n dx"] | Rows, y: Real[ArrayLike, "n dy"] | Rows, *, neighbours: int = 3
) -> Float[Array, ""]:
    """Mutual information in nats of continuous columns and a label: the value of `Ross`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y. Or
            `sharding.Rows`, both.
        y: `(n, dy)`, the label; equal rows are one label.
        neighbours: k, static.

    Raises:
        ValueError: as `Ross.estimate`; inside jit bad values give NaN.

    Reference: Ross (2014). See `Ross` for when it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x = jax.random.normal(jax.random.key(0), (300, 1))
        >>> label = (x > 0).astype(int)
        >>> print(f"{information.ross(x, label):.1f}")  # log 2
        0.7
    """
    checks.integer("neighbours", neighbours, at_least=1)
    x, y, layout = _pair(x, y, neighbours)
    return _value(x, y, neighbours, layout)


def _pair(x, y, neighbours):
    (x, y), layout = whole(x=x, y=_coded(y))
    why = f"2 more than neighbours={neighbours}"
    x, y = as_pair(x, y, at_least=neighbours + 2, why=why)
    if checks.is_concrete(y) and not checks.holds(lambda v: (_occurs(v) > 1).any(), y):
        raise ValueError(
            "y must have a value that occurs twice: every row of it is different from all "
            "others. For a continuous column use KSG"
        )
    return x, y, layout


def _coded(labels):
    """Whole numbers that a float would merge as 0, 1, ...: a label is nothing but itself."""
    if isinstance(labels, jax.Array | Rows):
        return labels
    host = np.asarray(labels)
    if host.dtype.kind not in "iu" or host.ndim != 2 or not host.size:
        return labels
    if max(abs(int(host.min())), abs(int(host.max()))) <= 2**24:
        return labels
    return np.unique(host, axis=0, return_inverse=True)[1].reshape(-1, 1)


def _occurs(label: Float[Array, "n dl"]) -> Int[Array, " n"]:
    """How many rows have the label of each."""
    n = label.shape[0]
    order = jnp.lexsort(label.T)
    ordered = label[order]
    new = jnp.concatenate([jnp.ones(1, bool), (ordered[1:] != ordered[:-1]).any(1)])
    group = jnp.cumsum(new) - 1
    counts = jnp.zeros(n, jnp.int32).at[group].add(1)
    return jnp.zeros(n, jnp.int32).at[order].set(counts[group])


def _variables(x, label):
    unique = _occurs(label) == 1
    # Zero for all rows that stay; each of the others is at a distance from every row.
    apart = jnp.where(unique, 1 + jnp.cumsum(unique), 0).astype(x.dtype)
    return (comparable(x), label, apart[:, None]), ~unique


def _among(kept, contributions):
    """The mean over the rows kept, plus psi of their number."""
    number = jnp.sum(kept).astype(contributions.dtype)
    return digamma(number) + jnp.sum(jnp.where(kept, contributions, 0)) / number, number


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _value(x, y, neighbours, layout):
    variables, kept = _variables(x, y)
    of_block = counting.value_of_block(LABELLED, neighbours)
    contributions, _ = over_blocks(of_block, variables, layout)
    return checks.poison(_among(kept, contributions)[0], status_of(x, y) == OK)


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _estimate(x, y, neighbours, layout):
    variables, kept = _variables(x, y)
    (contributions, of_itself), changes = over_blocks(
        counting.jackknife_of_block(LABELLED, neighbours), variables, layout
    )
    value, number = _among(kept, contributions)
    influence = contributions - (changes - of_itself)
    influence = jnp.where(kept, influence - jnp.sum(jnp.where(kept, influence, 0)) / number, 0)
    error = jnp.sqrt(jnp.sum(influence**2) / (number * (number - 1)))
    status = status_of(x, y)
    status = jnp.where((status == OK) & ~kept.any(), NO_LABEL_TWICE, status)
    return conclude(value, error, x, y, status)
