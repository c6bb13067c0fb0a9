"""Kernel density of a table of mixed columns: `ProductKDE(columns).fit(points)`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import (
    Choice,
    Spec,
    checks,
    constant_columns,
    effective_sample_size,
    normalised,
)
from estimators._core._moments import log_of_weights
from estimators.density._product import _product_bandwidth
from estimators.density._product._columns import Column
from estimators.density._product._fitted_product import (
    FittedProductKDE,
    ProductKDEInfo,
    refuse_values,
    to_coordinates,
)

RULES = ("scott", "loo")
OK, NOT_FINITE, OUTSIDE, CONSTANT, BANDWIDTH, COLLAPSED, NOT_CONVERGED = range(7)


class ProductKDE(Spec):
    """Kernel density of a table whose columns are of different kinds.

    The density is `sum_j w_j prod_k K_k(x_k; y_jk, b_k)`: for each column a kernel that suits
    it and a bandwidth of its own (Li & Racine 2003). It is with respect to length in a
    continuous column and to counting measure in a discrete one, where it is a probability.

    - `bandwidth="loo"`: all of them together by leave-one-out likelihood (Habbema, Hermans &
      van den Broek 1974; Hall 1987 for its failures). Systematic sampling keeps at most 2048
      rows as queries. A column of bounded, periodic or discrete kind that tells nothing is
      smoothed out: its bandwidth grows until its kernel is uniform (Hall, Racine & Li 2004).
    - `"scott"`: `spread n^(-1/(4+q))` for each of q continuous columns, and `n^(-2/(4+q))`
      times the largest for a discrete one. Quick, and blind to the data's shape.
    - `(c,)` numbers: see `FittedProductKDE.bandwidth` for their units.

    The first two scale with the data: the units of the columns do not matter.

    Args:
        columns: the kind of each column: `Real`, `Bounded`, `Periodic`, `Categorical`,
            `Ordered`.
        bandwidth: see above. An array is a leaf of the pytree: vmap and grad go through it.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> key = jax.random.key(0)
        >>> hour = jax.random.uniform(key, (500,)) * 24
        >>> shift = jax.numpy.floor(hour / 8)  # 0, 1, 2
        >>> kinds = [density.Periodic(24.0), density.Categorical(3)]
        >>> fitted = density.ProductKDE(kinds).fit(jax.numpy.stack([hour, shift], 1))
        >>> x = jax.numpy.array([[4.0, 0.0], [4.0, 1.0]])
        >>> first, second = jax.numpy.exp(fitted.log_density(x))
        >>> print(f"{first / (first + second):.2f}")  # at four it is the first shift
        1.00

    When it fails: with many continuous columns, as every kernel density (see `KDE`), and
    where continuous columns depend strongly on each other, because a product kernel has no
    tilt: rotate such columns, or use `KDE`. Leave-one-out likelihood oversmooths columns with
    heavy tails, where one outlier is worth any bandwidth (Hall 1987), and has no maximum where
    a continuous column repeats its values (rounded data): such a column is refused by number.
    """

    columns: tuple[Column, ...]
    bandwidth: Choice | Float[Array, " c"]

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        bandwidth: str | Sequence | Real[ArrayLike, " c"] = "loo",
    ):
        self.columns = tuple(columns)
        for j, column in enumerate(self.columns):
            if not isinstance(column, Column):
                raise ValueError(
                    f"columns[{j}] must be a kind of column, such as density.Real() or "
                    f"density.Categorical(3); got {column!r}"
                )
        if not self.columns:
            raise ValueError("columns must name at least one kind; got none")
        if isinstance(bandwidth, str):
            self.bandwidth = Choice(checks.one_of("bandwidth", bandwidth, RULES))
            return
        array = checks.as_vector("bandwidth", bandwidth, length=len(self.columns))
        if checks.is_concrete(array):
            for j, column in enumerate(self.columns):
                if not checks.holds(_allowed, column, array[j]):
                    limit = "positive" if column.continuous else f"0 to {column.limit(None):.4g}"
                    raise ValueError(
                        f"bandwidth[{j}] must be {limit} for {column!r}; got {array[j]}"
                    )
        self.bandwidth = array

    def fit(
        self, points: Real[ArrayLike, "n c"], weights: Real[ArrayLike, " n"] | None = None
    ) -> FittedProductKDE:
        """Fit to `points`, one row a sample.

        Args:
            points: `(n, c)`, float32 or float64, discrete columns as codes; n >= 2 for rules.
            weights: `(n,)`, not negative; scaled to sum to one. None means equal.

        Raises:
            ValueError: for shapes that do not fit, values that are not finite or outside
                their column's domain, a constant continuous column or one whose values repeat
                (rules only), weights that are negative or all zero. Inside jit these values
                give `info.status` and a density that is NaN.
        """
        rules = isinstance(self.bandwidth, Choice)
        points = checks.as_points("points", points, at_least=2 if rules else 1)
        if points.shape[1] != len(self.columns):
            raise ValueError(
                f"points must have one column for each of the {len(self.columns)} kinds; got "
                f"shape {points.shape}"
            )
        weights = checks.as_weights("weights", weights, points.shape[0], points.dtype)
        for j, column in enumerate(self.columns):
            refuse_values("points", j, column, points[:, j])
        fitted, faulty = _fit(self, points, weights)
        if checks.is_concrete(fitted.info.status):
            _refuse(int(fitted.info.status), self, points, weights, faulty)
        return fitted


def _allowed(column: Column, bandwidth):
    if column.continuous:
        return (bandwidth > 0) & jnp.isfinite(bandwidth)
    # A limit such as 2/3 is rounded, here and by whoever wrote it.
    return (bandwidth >= 0) & (bandwidth <= column.limit(bandwidth.dtype) * (1 + 1e-6))


def _refuse(status: int, spec, points, weights, faulty) -> None:
    """Say why a fit failed; `faulty` are the columns that are to blame, where any are."""
    j = int(jnp.argmax(faulty))
    if status == CONSTANT:
        counts = weights > 0
        where = "in all rows" if bool(jnp.all(counts)) else "in all rows with weight"
        raise ValueError(
            "points must vary in every continuous column; column "
            f"{j} is {float(points[jnp.argmax(counts), j])} {where}, and its density is infinite "
            "there"
        )
    if status == COLLAPSED:
        raise ValueError(
            f"bandwidth 'loo' found no bandwidth above zero for column {j}"
            ": its values repeat, and have no density. Declare it Ordered or Categorical, or give "
            "bandwidths, or 'scott'"
        )
    if status == BANDWIDTH and isinstance(spec.bandwidth, Choice):
        raise ValueError(
            f"bandwidth {spec.bandwidth.name!r} must come out finite and positive; that of column "
            f"{j} does not: one row has nearly all the weight, or the column's spread in its units "
            f"is out of the range of {points.dtype}"
        )
    if status == NOT_CONVERGED:
        raise ValueError(
            "bandwidth 'loo' did not converge: the leave-one-out likelihood of these points has "
            "no maximum (too few distinct rows?). Give bandwidths, or 'scott'"
        )
    if status != OK:
        raise ValueError("points, weights and bandwidth must be finite and in their ranges")


@jax.jit
def _fit(spec: ProductKDE, points, weights):
    columns, dtype = spec.columns, points.dtype
    weights = normalised(weights)
    log_weights = log_of_weights(weights)
    size = effective_sample_size(weights)
    continuous = jnp.array([column.continuous for column in columns])
    coordinates, log_jacobian = to_coordinates(columns, points)
    log_likelihood, steps = jnp.asarray(jnp.nan, dtype), jnp.zeros((), jnp.int32)
    converged = jnp.asarray(True)
    constant = collapsed = jnp.zeros(len(columns), bool)
    if isinstance(spec.bandwidth, Choice):
        constant = constant_columns(coordinates, weights=weights) & continuous
        spreads = [column.spread(coordinates[:, j], weights) for j, column in enumerate(columns)]
        spreads = jnp.stack(spreads)
        bandwidth = _product_bandwidth.rule(columns, spreads, size)
        if spec.bandwidth.name == "loo":
            bandwidth, value, steps, converged, collapsed = _product_bandwidth.leave_one_out(
                columns, coordinates, log_weights, spreads, bandwidth
            )
            log_likelihood = value + jnp.sum(weights * log_jacobian)
    else:
        bandwidth = spec.bandwidth.astype(dtype)
    allowed = jnp.stack([_allowed(column, bandwidth[j]) for j, column in enumerate(columns)])
    inside = [jnp.all(column.holds(points[:, j])) for j, column in enumerate(columns)]
    finite = jnp.all(jnp.isfinite(points)) & jnp.all(weights >= 0)  # NaN is not
    failures = (
        (~finite, NOT_FINITE),
        (~jnp.all(jnp.stack(inside)), OUTSIDE),
        (jnp.any(constant), CONSTANT),
        (jnp.any(collapsed), COLLAPSED),
        (jnp.any(~allowed), BANDWIDTH),
        (~converged, NOT_CONVERGED),
    )
    status = jnp.select(
        [failed for failed, _ in failures],
        [jnp.asarray(code, jnp.int32) for _, code in failures],
        jnp.asarray(OK, jnp.int32),
    )
    info = ProductKDEInfo(size, log_likelihood, steps, status)
    fitted = FittedProductKDE(columns, bandwidth, coordinates, log_jacobian, log_weights, info)
    faulty = jnp.where(status == CONSTANT, constant, collapsed | ~allowed)
    return checks.poison(fitted, status == OK), faulty
