"""Many columns: compress each side to a few, then estimate."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Spec, checks, product
from estimators.information._estimate import Estimate, as_pair
from estimators.information._neighbours._ksg import standardise

BY = ("principal_components", "random_projection")


class Compressed(Spec):
    """Compress x and y to a few columns each, and estimate the information of those.

    Estimators from neighbours or kernels see little in dozens of columns: of 39 and 300 columns
    that share one number, 1.78 nats, KSG found 0.67 from 400 rows. For any maps f and g,
    I(f(X); g(Y)) <= I(X; Y) (data processing inequality, Cover & Thomas 2006, theorem 2.8.1):
    what is estimated is a lower bound on the information of all columns.

    The columns are standardised first. Then "principal_components" takes the leading components
    of each side (of its correlations), and "random_projection" independent normal combinations
    of its columns, whose mean information over directions is the sliced mutual information
    (Goldfeld & Greenewald 2021). Neither map sees the other side, so that it cannot fit itself
    to chance dependence. A side that has the asked number of columns already stays as it is.
    Cost is that of `base` and O(n d min(n, d)).

    Args:
        base: any estimator with `estimate(x, y)`.
        columns_x: number of columns that x is compressed to, static.
        columns_y: number of columns that y is compressed to, static.
        by: "principal_components" or "random_projection", static.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> latent, rest = jax.random.split(jax.random.key(0))
        >>> z = jax.random.normal(latent, (500, 1))
        >>> noise = jax.random.normal(rest, (500, 339))
        >>> x, y = z + noise[:, :39], z + noise[:, 39:]  # 39 and 300 columns share one number
        >>> spec = information.Compressed(information.KSG(), columns_x=1, columns_y=1)
        >>> bool(spec.estimate(x, y).value > 1)
        True

    When it fails: large variance need not be shared. A dependence that lives in columns of small
    variance is lost, and the bound is then far below the truth; the standard error, which is that
    of `base` and takes the maps as given, does not say so. Where `base` itself overestimates,
    nothing here bounds it. Random projections of many columns are nearly normal and nearly
    independent: their information is a small part of the whole.
    """

    base: Any
    columns_x: int = eqx.field(static=True)
    columns_y: int = eqx.field(static=True)
    by: str = eqx.field(default="principal_components", static=True)

    def __check_init__(self):
        if isinstance(self.base, type) or not callable(getattr(self.base, "estimate", None)):
            raise ValueError(
                "base must be an estimator with estimate(x, y), as information.KSG(); got "
                f"{self.base!r:.60}"
            )
        checks.integer("columns_x", self.columns_x, at_least=1)
        checks.integer("columns_y", self.columns_y, at_least=1)
        checks.one_of("by", self.by, BY)

    def estimate(
        self,
        x: Real[ArrayLike, "n dx"],
        y: Real[ArrayLike, "n dy"],
        *,
        key: Key[Array, ""] | None = None,
    ) -> Estimate:
        """Estimate the mutual information of `x (n, dx)` and `y (n, dy)` compressed, in nats.

        Args:
            x: `(n, dx)`, dx at least `columns_x`.
            y: `(n, dy)`, dy at least `columns_y`.
            key: draws the projections; required by, and only by, "random_projection".

        Returns:
            What `base` returns for the compressed columns.

        Raises:
            ValueError: as `base`; for fewer columns than are asked for, no more rows than
                components, a key that is missing or not wanted, different numbers of rows or,
                outside jit, a constant column or a value that is not finite.
        """
        wanted = max(self.columns_x, self.columns_y)
        x, y = as_pair(x, y, at_least=wanted + 1, why=f"to find {wanted} components")
        for name, columns, number in (("x", x, self.columns_x), ("y", y, self.columns_y)):
            if columns.shape[1] < number:
                raise ValueError(
                    f"{name} must have at least columns_{name} = {number} columns; got shape "
                    f"{columns.shape}"
                )
        if self.by == "principal_components":
            if key is not None:
                raise ValueError("key must be left out: principal components draw nothing")
            x = _components("columns_x", x, self.columns_x)
            y = _components("columns_y", y, self.columns_y)
        else:
            of_x, of_y = jax.random.split(checks.as_key(key))
            x = random_projection(x, of_x, self.columns_x)
            y = random_projection(y, of_y, self.columns_y)
        return self.base.estimate(x, y)


def _components(name: str, columns, number: int):
    components = principal_components(columns, number)
    finite = checks.is_concrete(columns) and checks.holds(lambda c: jnp.isfinite(c).all(), columns)
    if finite and not checks.holds(lambda c: jnp.isfinite(c[:, -1]).all(), components):
        raise ValueError(
            f"{name} must be at most the number of columns that do not depend on others linearly; "
            f"got {number} for {columns.shape[1]} columns of fewer"
        )
    return components


@functools.partial(jax.jit, static_argnames="number")
def principal_components(columns: Float[Array, "n d"], number: int) -> Float[Array, "n number"]:
    """The leading components of the correlations, each of unit variance.

    NaN where rounding alone is left of one.
    """
    n, d = columns.shape
    if number == d:
        return columns
    scaled = standardise(columns)
    # The smaller of the two Gram matrices has the eigenvalues of both.
    if d <= n:
        values, vectors = jnp.linalg.eigh(product(scaled.T, scaled))
        leading = product(scaled, vectors[:, ::-1][:, :number])
        return leading * jnp.sqrt(n / _above_rounding(values, number))[None]
    values, vectors = jnp.linalg.eigh(product(scaled, scaled.T))
    leading = vectors[:, ::-1][:, :number] * jnp.sqrt(jnp.asarray(n, columns.dtype))
    return jnp.where(jnp.isnan(_above_rounding(values, number))[None], jnp.nan, leading)


def _above_rounding(values, number: int):
    least = 4 * values.shape[0] * jnp.finfo(values.dtype).eps * values[-1]
    leading = values[::-1][:number]
    return jnp.where(leading > least, leading, jnp.nan)


@functools.partial(jax.jit, static_argnames="number")
def random_projection(columns: Float[Array, "n d"], key, number: int) -> Float[Array, "n number"]:
    """Independent normal combinations of the standardised columns."""
    d = columns.shape[1]
    if number == d:
        return columns
    return product(standardise(columns), jax.random.normal(key, (d, number), columns.dtype))
