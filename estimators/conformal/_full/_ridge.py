"""Full conformal ridge regression."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks, product
from estimators.conformal._full._factor import Factor, check_columns, check_leverage, factorise
from estimators.conformal._full._fitted import FullConformal, of_rows
from estimators.conformal._full._sets import IntervalUnion, Reaches, reaches, union

# What a residual is divided by, as a function of 1 - leverage.
DIVISORS = {"ordinary": jnp.ones_like, "studentised": jnp.sqrt, "deleted": lambda rest: rest}


class FittedFullConformalRidge(FullConformal):
    """A ridge regression that any test row can join; see `FullConformalRidge`.

    Attributes:
        factor: the regression of the training rows alone.
        residuals: which residual is the score.
    """

    factor: Factor
    residuals: str = eqx.field(static=True)

    def reaches(self, features: Float[Array, "b d"]) -> Reaches:
        """See `FullConformal`. One test row more is an update of rank one.

        With u the whitened test row, u_i those of training and g = u u, the residual of the
        test row is v / (1 + g), v = y - prediction, and that of row i is e_i - (u_i u) v /
        (1 + g), with 1 - h_i + (u_i u)^2 / (1 + g) in place of 1 - leverage h_i.
        """
        test = self.factor.whiten(features)
        along = product(test, self.factor.rows.T)
        grown = 1 + jnp.sum(test**2, -1, keepdims=True)
        rest = grown * (1 - self.factor.leverage)[None] + along**2
        divisor = DIVISORS[self.residuals](rest)
        constant = grown * self.factor.residuals[None] / divisor
        return reaches(constant, -along / divisor, self.factor.predict(test))

    def _given(self):
        if self.residuals == "studentised":
            return "exchangeable rows"
        return "exchangeable rows; `interval` is the hull of the set, and covers no less"

    def intervals(
        self, features: Real[ArrayLike, "*batch d"], *, largest: int = 8
    ) -> IntervalUnion:
        """All y with a p-value above `1 - coverage`, as a union of closed intervals.

        It is one interval nearly always, and always with studentised residuals; otherwise a
        row can make it more where its leverage, with the test row, is above that of the test
        row or of its own order.

        Args:
            features: test rows, in the units of the fit.
            largest: for how many intervals there is room; n + 1 is always enough.

        Returns:
            An `IntervalUnion`. Where there are more than `largest`, its ends are NaN and its
            `count` says what is needed.

        Raises:
            ValueError: as `interval`.
        """
        checks.integer("largest", largest, at_least=1)
        features = checks.as_queries("features", features, self.dimension)
        return _intervals(self, features, largest)


@functools.partial(jax.jit, static_argnums=2)
def _intervals(fitted, features, largest):
    found = functools.partial(union, needed=fitted.needed, largest=largest)
    return of_rows(fitted, found, features)


class FullConformalRidge(Spec):
    """Full conformal prediction with ridge regression, exact and without a grid.

    For every y the regression is fitted to the n training rows and (x, y) together,

        minimise over c, w:  sum_{i <= n+1} (y_i - c - w x_i)^2 + ridge |w|^2,

    and y is kept where the p-value, the share of the n + 1 absolute residuals that are as large
    as that of the test row, is above 1 - coverage. Residuals are affine in y, so the set is
    known from the points where two scores meet. No row is set aside and no fit is repeated:
    O(n d^2) once, then O(n d) a test row, in blocks.

    Args:
        coverage: probability that the set must cover, in (0, 1).
        ridge: penalty, not negative, in the squared units of the features; a leaf, so it can
            be mapped over and differentiated in. At 0 there must be more rows than
            coefficients.
        residuals: "ordinary"; "studentised", divided by sqrt(1 - leverage), for which the set
            is always one interval; or "deleted", divided by 1 - leverage: what is left when
            the row itself is not used.
        intercept: whether c is there; it is not penalised.

    Features are not standardised: scales learned from the training rows alone would break the
    exchangeability with the test row.

    Guarantee: for exchangeable rows a new y is covered with probability at least `coverage`,
    below `coverage + 1/(n + 1)` where scores are distinct, over training and test rows
    together. The linear model need not be right. The ridge must not be chosen with these rows.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> x = jnp.arange(20.0)[:, None]
        >>> y = 2 * x[:, 0] + jnp.where(jnp.arange(20) % 2 == 0, 1.0, -1.0)
        >>> fitted = conformal.FullConformalRidge(0.8, ridge=0.1).fit(x, y)
        >>> lower, upper = fitted.interval(jnp.array([[9.5]]))
        >>> print(lower.round(2), upper.round(2))
        [17.85] [20.15]

    Reference: Nouretdinov, Melluish & Vovk 2001, Ridge regression confidence machine; Vovk,
    Gammerman & Shafer 2005, section 2.3; Burnaev & Vovk 2014 for its efficiency.

    When it fails: a wrong model or heavy tails make wide sets, never invalid ones. The width
    hardly follows x. Ordinary residuals of a test row far from the others are small whatever
    its y: the set is then wide or infinite, where it is honest to be so.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    ridge: float | Float[ArrayLike, "..."] = 1.0
    residuals: str = eqx.field(static=True, default="ordinary", kw_only=True)
    intercept: bool = eqx.field(static=True, default=True, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.positive("ridge", self.ridge, zero=True)
        checks.one_of("residuals", self.residuals, tuple(DIVISORS))

    def fit(
        self, features: Real[ArrayLike, "n d"], y: Real[ArrayLike, " n"]
    ) -> FittedFullConformalRidge:
        """Fit the training rows, ready for any test row to join.

        Args:
            features: `(n, d)`.
            y: `(n,)`.

        Raises:
            ValueError: for shapes that do not belong together or values that are not finite;
                with ridge 0 for too few rows or columns that depend on each other; for a row
                of leverage 1, where residuals are divided by 1 - leverage. Inside `jax.jit`
                all but shapes give NaN.
        """
        features = checks.as_points("features", features)
        n, d = features.shape
        y = checks.as_vector("y", y, length=n)
        dtype = jnp.result_type(features, y)
        features, y = features.astype(dtype), y.astype(dtype)
        ridge = checks.as_number("ridge", self.ridge).astype(features.dtype)
        factor = factorise(features, y, ridge, self.intercept)
        sound = check_columns(factor, features, ridge)
        if self.residuals != "ordinary":
            sound = sound & check_leverage(factor)
        return FittedFullConformalRidge(
            self.coverage, n, d, checks.poison(factor, sound), self.residuals
        )
