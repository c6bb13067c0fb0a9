"""Conditional mutual information from nearest neighbours (Frenzel & Pompe 2007)."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.information._estimate import (
    OK,
    Estimate,
    as_pair,
    conclude,
    status_of,
    varied,
)
from estimators.information._neighbours import _counting as counting
from estimators.information._neighbours._ksg import comparable
from estimators.sharding import Rows, whole


def _spaces(away):
    to_x, to_y, to_z = away
    with_x, with_y = jnp.maximum(to_x, to_z), jnp.maximum(to_y, to_z)
    return jnp.maximum(with_x, with_y), (with_x, with_y, to_z)


GIVEN = counting.Recipe(_spaces, (-1, -1, 1))


class ConditionalKSG(Spec):
    """Conditional mutual information I(X; Y | Z) from nearest neighbours.

    Frenzel & Pompe (2007): with `in_xz`, `in_yz` and `in_z` the numbers of other points that
    lie, in those columns, strictly within the joint maximum-norm distance to the k-th
    neighbour,

        I = psi(k) - mean(psi(in_xz + 1) + psi(in_yz + 1) - psi(in_z + 1))        [nats]

    The columns are standardised first. The standard error is the exact delete-one jackknife.
    Cost is O(n^2 (dx + dy + dz + k)) time, O(block) memory.

    Args:
        neighbours: k, static. More neighbours: less variance, more bias.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, y, z = jax.random.normal(jax.random.key(0), (3, 600, 1))
        >>> estimate = information.ConditionalKSG().estimate(x + z, y + z, z)
        >>> bool(abs(estimate.value) < 0.05)  # what x + z and y + z share is z
        True

    When it fails: the bias is towards zero, grows with the number of columns of all three, and
    is larger than that of `KSG`: the neighbours must be near in z too. It is not small where z
    determines x or y nearly. For discrete columns the counts are of few distinct distances;
    with a discrete z estimate within each of its values, and average.
    """

    neighbours: int = eqx.field(default=5, static=True)

    def __check_init__(self):
        checks.integer("neighbours", self.neighbours, at_least=1)

    def estimate(
        self,
        x: Real[ArrayLike, "n dx"] | Rows,
        y: Real[ArrayLike, "n dy"] | Rows,
        z: Real[ArrayLike, "n dz"] | Rows,
    ) -> Estimate:
        """Estimate I(X; Y | Z) of `x (n, dx)`, `y (n, dy)` and `z (n, dz)`, in nats.

        Of `sharding.Rows` the columns are gathered, and the pairs shared out over the devices.

        Raises:
            ValueError: for fewer than k + 2 rows, different numbers of rows or, outside jit, a
                constant column or a value that is not finite. Inside jit those two give NaN and
                a status.
        """
        variables, layout = _triple(x, y, z, self.neighbours)
        return _estimate(*variables, self.neighbours, layout)


def conditional_ksg(
    x: Real[ArrayLike, "n dx"] | Rows,
    y: Real[ArrayLike, "n dy"] | Rows,
    z: Real[ArrayLike, "n dz"] | Rows,
    *,
    neighbours: int = 5,
) -> Float[Array, ""]:
    """Conditional mutual information I(X; Y | Z) in nats: the value of `ConditionalKSG`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y and z. Or
            `sharding.Rows`, all three.
        y: `(n, dy)`.
        z: `(n, dz)`, what is known.
        neighbours: k, static.

    Raises:
        ValueError: as `ConditionalKSG.estimate`; inside jit bad values give NaN.

    Reference: Frenzel & Pompe (2007). See `ConditionalKSG` for when it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, y, z = jax.random.normal(jax.random.key(0), (3, 8, 100, 1))
        >>> jax.vmap(information.conditional_ksg)(x, y, z).shape  # eight data sets
        (8,)
    """
    checks.integer("neighbours", neighbours, at_least=1)
    variables, layout = _triple(x, y, z, neighbours)
    return _value(*variables, neighbours, layout)


def _triple(x, y, z, neighbours):
    (x, y, z), layout = whole(x=x, y=y, z=z)
    why = f"2 more than neighbours={neighbours}"
    return as_triple(x, y, z, at_least=neighbours + 2, why=why), layout


def as_triple(x, y, z, *, at_least: int, why: str):
    """Check three variables: rows are joint samples, every column finite and not constant."""
    x, y = as_pair(x, y, at_least=at_least, why=why)
    z = checks.as_points("z", z)
    if z.shape[0] != x.shape[0]:
        raise ValueError(
            f"x and z must have one row a joint sample, the same number of rows; got shapes "
            f"{x.shape} and {z.shape}"
        )
    varied("z", z)
    dtype = jnp.result_type(x, z)
    return x.astype(dtype), y.astype(dtype), z.astype(dtype)


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _value(x, y, z, neighbours, layout):
    value = counting.mean(GIVEN, tuple(map(comparable, (x, y, z))), neighbours, layout)
    return checks.poison(value, status_of(x, jnp.concatenate([y, z], 1)) == OK)


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _estimate(x, y, z, neighbours, layout):
    variables = tuple(map(comparable, (x, y, z)))
    value, error = counting.jackknife(GIVEN, variables, neighbours, layout)
    others = jnp.concatenate([y, z], 1)
    return conclude(value, error, x, others, status_of(x, others))
