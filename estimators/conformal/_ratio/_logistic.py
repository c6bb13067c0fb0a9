"""A density ratio from the odds of a classifier that tells new rows from calibration rows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, Stored, centre_and_inverse, checks, product
from estimators.conformal._newton import newton


def ratio_from_probability(
    probability: Real[ArrayLike, "*batch"], source: int, target: int
) -> Float[Array, "*batch"]:
    """The density ratio that a probabilistic classifier implies.

        w(x) = p / (1 - p) * n_source / n_target

    with p its probability that a row is one of the target (Bickel, Brueckner & Scheffer 2007).
    So any classifier of any library gives weights.

    Args:
        probability: in [0, 1); calibrated, of rows that it was not trained on.
        source: rows of the source that it was trained on.
        target: rows of the target.

    Raises:
        ValueError: for a probability outside [0, 1); inside jit it gives NaN.

    Example:
        >>> from estimators import conformal
        >>> print(conformal.ratio_from_probability(0.75, source=100, target=300))
        1.0
    """
    probability = checks.finite("probability", checks.as_float("probability", probability))
    checks.integer("source", source, at_least=1)
    checks.integer("target", target, at_least=1)
    inside = (probability >= 0) & (probability < 1)
    if checks.is_concrete(probability) and not checks.holds(
        lambda p: ((p >= 0) & (p < 1)).all(), probability
    ):
        wrong = np.asarray(probability)[~np.asarray(inside)].flat[0]
        raise ValueError(f"probability must lie in [0, 1); got {wrong}")
    odds = probability / jnp.where(inside, 1 - probability, jnp.nan)
    return odds * (source / target)


class LogisticRatioInfo(Stored):
    """How the fit went.

    Attributes:
        gradient: largest entry of the last gradient; far from 0 where it has not converged.
        effective_sample_size: of the source rows with their weights, `sum(w)**2 / sum(w**2)`.
    """

    gradient: Float[Array, ""]
    effective_sample_size: Float[Array, ""]


class FittedLogisticRatio(Fitted):
    """Coefficients; see `LogisticRatio`.

    Attributes:
        coefficients: of standardised features, and their squares where there are any.
        intercept: log ratio where all of them are 0.
        centre: `(d,)`, means of all rows.
        inverse: `(d,)`, one over their standard deviations; 0 for a constant column.
        info: how the fit went.
    """

    coefficients: Float[Array, " columns"]
    intercept: Float[Array, ""]
    centre: Float[Array, " d"]
    inverse: Float[Array, " d"]
    info: LogisticRatioInfo

    def ratio(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch"]:
        """Density of the target over that of the source at `x`, `(*batch, d) -> (*batch,)`."""
        d = self.centre.shape[0]
        x = checks.as_queries("x", x, d).astype(self.centre.dtype)
        rows = _columns(x.reshape(-1, d), self)
        log_ratio = self.intercept + jnp.sum(rows * self.coefficients[None], 1)
        return jnp.exp(log_ratio).reshape(x.shape[:-1])


class LogisticRatio(Spec):
    """The odds of a logistic regression between source and target.

        log w(x) = a + b . z + c . z**2,    z = (x - mean) / standard deviation

    by Newton steps on the penalised likelihood, both samples with one weight in total. With the
    squares it holds exactly for two normal laws of diagonal covariance.

    Args:
        squares: whether the squares are there.
        ridge: penalty on the squared coefficients, but not on the intercept, relative to the
            mean log-likelihood.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> source = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> fitted = conformal.LogisticRatio().fit(source, source + 1.0)
        >>> print(f"{fitted.ratio(source[:1] * 0 + 0.5)[0]:.1f}")  # the truth is 1
        1.0

    Reference: Bickel, Brueckner & Scheffer 2007, Discriminative learning for differing training
    and test distributions; conformal weights after Tibshirani et al. 2019, section 2.3.

    When it fails: where the log ratio is not quadratic; any other classifier then does through
    `ratio_from_probability`. `info.effective_sample_size` far below the number of rows says
    that few of them stand for the target.
    """

    squares: bool = eqx.field(static=True, default=True)
    ridge: float | Float[ArrayLike, ""] = eqx.field(default=1e-3, kw_only=True)

    def __check_init__(self):
        checks.positive("ridge", self.ridge, zero=True)

    def fit(
        self, source: Real[ArrayLike, "n d"], target: Real[ArrayLike, "m d"]
    ) -> FittedLogisticRatio:
        """Fit the classifier; it works inside `jax.jit` and `jax.vmap`.

        Args:
            source: `(n, d)`, rows of the law of the calibration rows.
            target: `(m, d)`, rows of the law of the new ones.

        Raises:
            ValueError: for another number of columns, or values that are not finite; inside
                jit these give NaN.
        """
        source = checks.as_points("source", source)
        target = checks.as_points("target", target, dimension=source.shape[1])
        dtype = jnp.result_type(source, target)
        ridge = jnp.asarray(self.ridge, dtype)
        return _fit(source.astype(dtype), target.astype(dtype), ridge, self.squares)


@eqx.filter_jit
def _fit(source, target, ridge, squares: bool) -> FittedLogisticRatio:
    rows, n, m = jnp.concatenate([source, target]), source.shape[0], target.shape[0]
    centre, inverse = centre_and_inverse(rows)
    nothing = jnp.zeros((), rows.dtype)
    columns = rows.shape[1] * (1 + squares)
    start = FittedLogisticRatio(
        jnp.zeros(columns, rows.dtype),
        nothing,
        centre,
        inverse,
        LogisticRatioInfo(nothing, nothing),
    )
    design = jnp.append(_columns(rows, start), jnp.ones((n + m, 1), rows.dtype), 1)
    label = (jnp.arange(n + m) >= n).astype(rows.dtype)
    weight = jnp.where(label > 0, 0.5 / m, 0.5 / n).astype(rows.dtype)
    penalty = ridge * (jnp.arange(columns + 1) < columns)

    def objective(beta):
        logits = product(design, beta[:, None])[:, 0]
        loss = jnp.sum(weight * (jax.nn.softplus(logits) - label * logits))
        return loss + 0.5 * jnp.sum(penalty * beta**2)

    beta = newton(objective, jnp.zeros(columns + 1, rows.dtype))
    weights = jnp.exp(product(design[:n], beta[:, None])[:, 0])
    size = jnp.sum(weights) ** 2 / jnp.sum(weights**2)
    info = LogisticRatioInfo(jnp.max(jnp.abs(jax.grad(objective)(beta))), size)
    fitted = FittedLogisticRatio(beta[:-1], beta[-1], centre, inverse, info)
    return checks.poison(fitted, jnp.isfinite(beta).all())


def _columns(rows, units: FittedLogisticRatio) -> Float[Array, "n columns"]:
    standard = (rows - units.centre[None]) * units.inverse[None]
    squares = units.coefficients.shape[0] > rows.shape[1]
    return jnp.append(standard, standard**2, 1) if squares else standard
