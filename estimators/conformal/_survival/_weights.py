"""Weights that let the rows whose event was seen stand for those that were censored."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks
from estimators.conformal._survival._inputs import as_observed, as_probabilities
from estimators.conformal._survival._kaplan_meier import kaplan_meier


def inverse_censoring_weights(
    times: Real[ArrayLike, " n"],
    events: Bool[ArrayLike, " n"] | Real[ArrayLike, " n"],
    probabilities: Real[ArrayLike, " n"] | None = None,
    *,
    largest: float | Real[ArrayLike, ""] | None = None,
) -> Float[Array, " n"]:
    """Weights for censored rows: one over the probability that an event could be seen.

        w_i = event_i / P(C >= time_i | x_i),   at most `largest`

    With them `mean(w f(x, time))` estimates the mean of f(x, T), for T the time of the event:
    its expectation is that mean, where the probabilities are right and C, the time of censoring,
    is independent of T given x.

    Args:
        times: `(n,)`, when each row was last seen; not negative.
        events: `(n,)`, booleans or 0 and 1: whether the event was seen then.
        probabilities: `(n,)`, in (0, 1], P(C >= time_i | x_i) by any model of the censoring. None
            takes the Kaplan-Meier curve of these rows, for a censoring that does not depend on x.
        largest: bound on the weights, at least 1; None is no bound. A row beyond it counts for
            too little: a mean of f then misses at most the mean of f where the probability is
            below `1 / largest`.

    Returns:
        `(n,)`, 0 where the row was censored.

    Raises:
        ValueError: for shapes that differ, times that are negative, events that are not 0 or 1,
            probabilities outside (0, 1], a bound below 1. Inside jit these give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> times, events = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([1, 0, 1, 1])
        >>> print(conformal.inverse_censoring_weights(times, events))
        [1.  0.  1.5 1.5]

    Reference: Robins & Rotnitzky 1992; with the Kaplan-Meier curve their sums are the
    Kaplan-Meier estimate of the event's law (Satten & Datta 2001).

    When it fails: where hardly any row could be seen for so long, few weights carry the sum. No
    weight helps where none could.
    """
    times, seen = as_observed(times, events)
    if probabilities is None:
        chance = kaplan_meier(times, seen, reverse=True).before(times)
    else:
        chance = as_probabilities(probabilities, times.shape).astype(times.dtype)
    weights = jnp.where(seen, 1 / chance, 0)
    if largest is not None:
        bound = checks.as_number("largest", largest).astype(times.dtype)
        if checks.is_concrete(bound) and not checks.holds(lambda b: b >= 1, bound):
            raise ValueError(f"largest must be at least 1, the least weight; got {bound}")
        weights = jnp.minimum(weights, jnp.where(bound >= 1, bound, jnp.nan))
    return checks.poison(weights, ~jnp.isnan(times + chance).any())
