"""Which of many hypotheses to reject, so that few rejections are false on average."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks


class Rejections(NamedTuple):
    """What `benjamini_hochberg` rejects.

    Attributes:
        rejected: `(m,)`, which hypotheses.
        adjusted: `(m,)`, the least rate at which each would be rejected, at most 1.
    """

    rejected: Bool[Array, " m"]
    adjusted: Float[Array, " m"]


def benjamini_hochberg(
    p_values: Real[ArrayLike, " m"],
    rate: Real[ArrayLike, ""] = 0.1,
    *,
    method: Literal["bh", "by"] = "bh",
    weights: Real[ArrayLike, " m"] | None = None,
    storey: Real[ArrayLike, ""] | None = None,
) -> Rejections:
    """Reject hypotheses by their p-values, with a bound on the false discovery rate (FDR).

        k = max{ i : p_(i) <= rate i / m },   and the k smallest p-values are rejected

    The FDR is the expected share of rejections that are false, 0 where there are none. It is at
    most `rate m0 / m`, with m0 the number of true hypotheses, for p-values that are independent
    or positively dependent (PRDS), as conformal p-values of one calibration set are; with `storey`
    at most `rate`. O(m log m).

    Args:
        p_values: `(m,)`, in [0, 1].
        rate: bound on the FDR, in (0, 1).
        method: "bh", or "by" (Benjamini & Yekutieli 2001) for any dependence at all, at the
            rate divided by `1 + 1/2 + .. + 1/m`.
        weights: `(m,)`, not negative, known before the data: `p / weight` replaces p, with the
            weights scaled to a mean of one (Genovese, Roeder & Wasserman 2006). A hypothesis
            of weight 0 is never rejected.
        storey: Storey's lambda, in (0, 1), 0.5 for instance: the share of true hypotheses is
            estimated by `(1 + #{p > lambda}) / (m (1 - lambda))` and p-values are multiplied
            by it; with weights by `(max w + sum of w over p > lambda) / (m (1 - lambda))`
            (Ramdas, Barber, Wainwright & Jordan 2019). None takes 1.

    Returns:
        A `Rejections`: the mask, and adjusted p-values.

    Raises:
        ValueError: for p-values outside [0, 1], NaN, a rate or lambda outside (0, 1), weights
            that are negative, or shapes that differ. Inside jit adjusted p-values are NaN
            then, and nothing is rejected.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p_values = jnp.array([0.01, 0.02, 0.03, 0.8, 0.9])
        >>> print(conformal.benjamini_hochberg(p_values, 0.1).rejected)
        [ True  True  True False False]

    Reference: Benjamini & Hochberg 1995; Storey, Taylor & Siegmund 2004; Bates, Candes, Lei,
    Romano & Sesia 2023, theorem 2, for conformal p-values.

    When it fails: with "bh", p-values that depend on one another negatively. With `storey`
    they must be independent, or conformal with `(n + 1) lambda` a whole number. The share is
    controlled on average: in one set of data it may be larger. Where not even a few errors
    may be made, `BatchSelection` bounds their number.
    """
    p = checks.as_unit("p_values", _as_hypotheses("p_values", p_values))
    checks.one_of("method", method, ("bh", "by"))
    checks.probability("rate", rate)
    if storey is not None:
        checks.probability("storey", storey)
        storey = jnp.asarray(storey, p.dtype)
        storey = jnp.where((storey > 0) & (storey < 1), storey, jnp.nan)
    relative = _as_mean_one(weights, p)
    share = _null_share(p, relative, storey)
    if method == "by":
        share = share * float(np.sum(1 / np.arange(1, p.shape[0] + 1)))
    return _reject(p, relative, share, rate)


def e_benjamini_hochberg(
    e_values: Real[ArrayLike, " m"],
    rate: Real[ArrayLike, ""] = 0.1,
    *,
    weights: Real[ArrayLike, " m"] | None = None,
) -> Rejections:
    """Reject hypotheses by their e-values, with a bound on the FDR under any dependence.

        k = max{ i : e_[i] >= m / (i rate) },   and the k largest e-values are rejected

    An e-value is not negative and has a mean of at most one where its hypothesis is true, as a
    martingale has that starts at one. It is `benjamini_hochberg` on 1/e.

    Args:
        e_values: `(m,)`, not negative; +inf is allowed.
        rate: bound on the FDR, in (0, 1).
        weights: `(m,)`, not negative, known before the data; scaled to a mean of one, they
            multiply the e-values.

    Returns:
        A `Rejections`.

    Raises:
        ValueError: as `benjamini_hochberg`, and for e-values that are negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> print(conformal.e_benjamini_hochberg(jnp.array([40.0, 25.0, 1.0, 0.2])).rejected)
        [ True  True False False]

    Reference: Wang & Ramdas 2022, False discovery rate control with e-values, JRSS B 84(3).

    When it fails: 1/p of a p-value is no e-value. Where p-values may be used it rejects less.
    """
    e = _as_hypotheses("e_values", e_values)
    checks.probability("rate", rate)
    if checks.is_concrete(e) and not checks.holds(lambda e: (e >= 0).all(), e):
        wrong = np.asarray(e)[~(np.asarray(e) >= 0)]
        raise ValueError(
            f"e_values must not be negative or NaN; got {wrong[0]} ({wrong.size} of {e.size} are)"
        )
    inverse = jnp.where(e >= 0, 1 / jnp.abs(e), jnp.nan)
    return _reject(inverse, _as_mean_one(weights, e), jnp.ones((), e.dtype), rate)


def _as_hypotheses(name, values):
    array = checks.as_float(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (m,), one a hypothesis; got {array.shape}")
    return array


def _as_mean_one(weights, values):
    weights = checks.as_weights("weights", weights, values.shape[0], values.dtype)
    weights = jnp.where(jnp.isfinite(weights) & (weights >= 0), weights, jnp.nan)
    return weights * (values.shape[0] / jnp.sum(weights))


@jax.jit
def _null_share(p, weights, storey):
    if storey is None:
        return jnp.ones((), p.dtype)
    above = jnp.max(weights, initial=0) + jnp.sum(jnp.where(p > storey, weights, 0))
    return above / (p.shape[0] * (1 - storey))


@jax.jit
def _reject(p, weights, share, rate):
    rate = jnp.asarray(rate, p.dtype)
    scaled = jnp.where(weights > 0, p / weights, jnp.inf)
    valid = ~jnp.isnan(p + weights).any() & ~jnp.isnan(share) & (rate > 0) & (rate < 1)
    adjusted = checks.poison(jnp.minimum(step_up(scaled) * share, 1), valid)
    return Rejections(adjusted <= lenient(rate), adjusted)


def step_up(p: Float[Array, " m"]) -> Float[Array, " m"]:
    """The least rate at which the procedure rejects each hypothesis; not cut off at 1."""
    m = p.shape[0]
    ordered, place = jax.lax.sort((p, jnp.arange(m)), num_keys=1)
    ratio = ordered * (m / jnp.arange(1, m + 1, dtype=p.dtype))
    return jnp.zeros_like(p).at[place].set(jax.lax.cummin(ratio, reverse=True))


def lenient(bound: Float[Array, "..."]) -> Float[Array, "..."]:
    """A bound, and its rounding: p-values from counts often meet it exactly."""
    return bound * (1 + 8 * jnp.finfo(bound.dtype).eps)
