"""What an estimate of mutual information is: a value, its standard error, and a status."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import Stored, checks, constant_columns, normal_interval

OK, NOT_FINITE, CONSTANT_COLUMN, COLLINEAR, NO_LABEL_TWICE = range(5)


class EstimateInfo(Stored):
    """Diagnostics of an estimate.

    Attributes:
        ties: fraction of the rows that share the value of a column with another row, the
            largest over the columns. Both estimators are made for continuous data, ties 0.
        status: 0 ok; 1 not finite; 2 a constant column; 3 collinear columns; 4 no label occurs
            twice. Where it is not 0 the value and the standard error are NaN.
    """

    ties: Float[Array, ""]
    status: Int[Array, ""]


class Estimate(Stored):
    """Estimated mutual information.

    Attributes:
        value: in nats. It may be negative: the truth is not, and clipping every estimate at
            zero would bias their mean.
        standard_error: in nats; how far the value strays from its own mean. It knows nothing of
            the estimator's bias.
        samples: number of rows.
        info: diagnostics, see `EstimateInfo`.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    info: EstimateInfo
    samples: Int[Array, ""]

    def interval(
        self, coverage: float | Float[Array, ""] = 0.9
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Normal interval `value -+ z * standard_error` in nats, cut off at 0.

        The cut loses no coverage, for the truth is never negative. The guarantee is asymptotic
        and only for an estimator whose bias is small beside its standard error; the tables in
        `KSG` and `GaussianCopula` say where that was found to hold. For the question whether
        there is any dependence at all use `permutation_test`, which is exact.

        Raises:
            ValueError: if `coverage` is not strictly between 0 and 1.

        Example:
            >>> import jax
            >>> from estimators import information
            >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
            >>> lower, upper = information.KSG().estimate(x, x + noise).interval(0.9)
            >>> bool(lower < 0.35 < upper)  # the truth is log(2) / 2
            True
        """
        lower, upper = normal_interval(self.value, self.standard_error, coverage)
        return jnp.maximum(lower, 0), jnp.maximum(upper, 0)


def as_pair(x, y, *, at_least: int, why: str) -> tuple[Float[Array, "n dx"], Float[Array, "n dy"]]:
    """Check two variables: rows are joint samples, every column finite and not constant."""
    x, y = checks.as_points("x", x), checks.as_points("y", y)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"x and y must have one row a joint sample, the same number of rows; got shapes "
            f"{x.shape} and {y.shape}"
        )
    if x.shape[0] < at_least:
        raise ValueError(f"x and y must have at least {at_least} rows, {why}; got {x.shape[0]}")
    varied("x", x)
    varied("y", y)
    dtype = jnp.result_type(x, y)
    return x.astype(dtype), y.astype(dtype)


def as_columns(data, *, at_least: int) -> Float[Array, "n m"]:
    """Check a table of two columns or more, every one finite and not constant."""
    data = checks.as_points("data", data, at_least=at_least)
    if data.shape[1] < 2:
        raise ValueError(f"data must have at least 2 columns; got shape {data.shape}")
    varied("data", data)
    return data


def varied(name: str, columns: Float[Array, "n d"]) -> None:
    """Refuse a constant column where the values are known."""
    if checks.is_concrete(columns):
        if checks.holds(lambda c: constant_columns(c).any(), columns):
            values = np.asarray(columns)
            column = int(np.argmax((values == values[:1]).all(0)))
            raise ValueError(
                f"{name} must not have a constant column: it carries no information, and no "
                f"estimator of a density ratio can use it; {name}[:, {column}] is always "
                f"{values[0, column]}"
            )


def status_of(x: Float[Array, "n dx"], y: Float[Array, "n dy"]) -> Int[Array, ""]:
    """OK, NOT_FINITE or CONSTANT_COLUMN."""
    finite = jnp.isfinite(x).all() & jnp.isfinite(y).all()
    constant = constant_columns(x).any() | constant_columns(y).any()
    return jnp.where(finite, jnp.where(constant, CONSTANT_COLUMN, OK), NOT_FINITE)


def fraction_tied(*variables: Float[Array, "n _"]) -> Float[Array, ""]:
    """The largest fraction, over all columns, of rows whose value occurs more than once."""

    def of_one(columns):
        ordered = jnp.sort(columns, axis=0)
        same = ordered[1:] == ordered[:-1]
        edge = jnp.zeros_like(same[:1])
        tied = jnp.concatenate([edge, same]) | jnp.concatenate([same, edge])
        return jnp.max(jnp.mean(tied.astype(columns.dtype), axis=0))

    return functools.reduce(jnp.maximum, map(of_one, variables))


def conclude(value, standard_error, x, y, status) -> Estimate:
    """An estimate whose numbers are NaN unless the status is OK."""
    value, standard_error = checks.poison((value, standard_error), status == OK)
    info = EstimateInfo(fraction_tied(x, y), status.astype(jnp.int32))
    return Estimate(value, standard_error, info, jnp.asarray(x.shape[0], jnp.int32))
