"""The cutoff with the largest mean bound, on rows that do not calibrate."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.conformal._survival._inputs import as_censored, as_probabilities
from estimators.conformal._survival._lower_bound import SurvivalLowerBound
from estimators.conformal._survival._nested import as_predictions


class ChosenCutoff(NamedTuple):
    """What `choose_cutoff` found.

    Attributes:
        cutoff: the chosen one.
        mean_bounds: `(K,)`, the mean bound with each candidate.
    """

    cutoff: Float[Array, ""]
    mean_bounds: Float[Array, " K"]


def choose_cutoff(
    predictions: Real[ArrayLike, "n ..."],
    times: Real[ArrayLike, " n"],
    censoring_times: Real[ArrayLike, " n"],
    *,
    cutoffs: Real[ArrayLike, " K"],
    coverage: float = 0.9,
    levels: Sequence[float] | Real[ArrayLike, " L"] | None = None,
    probabilities: Real[ArrayLike, "n K"] | None = None,
) -> ChosenCutoff:
    """Choose the cutoff of `SurvivalLowerBound` that gives the largest mean bound.

    Each candidate is calibrated on these rows, and its bounds are averaged over them. They must
    be other rows than those that then calibrate: a cutoff chosen with these leaves the coverage
    as it is.

    Args:
        predictions: `(n,)`, or `(n, L)` with `levels`, as for `SurvivalLowerBound.calibrate`.
        times: `(n,)`, min(T, C).
        censoring_times: `(n,)`, C.
        cutoffs: `(K,)`, candidates, positive.
        coverage: as for `SurvivalLowerBound`.
        levels: `(L,)`, as there.
        probabilities: `(n, K)`, P(C >= cutoff | x) at each candidate; None for a censoring that
            does not depend on x.

    Returns:
        A `ChosenCutoff`. A candidate above all censoring times has the mean bound 0.

    Raises:
        ValueError: as `SurvivalLowerBound.calibrate`, and for candidates that are not positive.
            Inside jit bad values give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> event, censoring = jnp.arange(1.0, 21.0), jnp.array([12.0, 25.0] * 10)
        >>> observed = jnp.minimum(event, censoring), censoring
        >>> found = conformal.choose_cutoff(
        ...     event, *observed, cutoffs=jnp.array([5.0, 20.0, 30.0]), coverage=0.8
        ... )
        >>> print(found.cutoff, found.mean_bounds)
        20.0 [ 4.5 10.5  0. ]

    Reference: Candes, Lei & Ren 2023, Conformalized survival analysis, on the choice of c0.

    When it fails: the mean of few rows is noisy, and so is the choice; the coverage is not hurt.
    """
    checks.probability("coverage", coverage)
    times, censoring = as_censored(times, censoring_times)
    levels = None if levels is None else checks.as_levels("levels", levels)
    rows = as_predictions(predictions, levels)
    cutoffs = checks.positive("cutoffs", checks.as_vector("cutoffs", cutoffs))
    shape = (*times.shape, *cutoffs.shape)
    chances = None if probabilities is None else as_probabilities(probabilities, shape).T
    means = _mean_bounds(rows, times, censoring, cutoffs, levels, chances, coverage)
    known = ~jnp.isnan(means).any()
    return ChosenCutoff(checks.poison(cutoffs[jnp.argmax(means)], known), means)


@functools.partial(jax.jit, static_argnames="coverage")
def _mean_bounds(rows, times, censoring, cutoffs, levels, chances, coverage: float):
    def mean_bound(candidate):
        cutoff, chance = candidate
        spec = SurvivalLowerBound(coverage, cutoff=cutoff)
        calibrated = spec.calibrate(rows, times, censoring, levels=levels, probabilities=chance)
        return jnp.mean(calibrated.lower_bound(rows, chance))

    return jax.lax.map(mean_bound, (cutoffs, chances))
