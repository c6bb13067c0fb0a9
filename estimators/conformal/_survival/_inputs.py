"""Checks of censored data: refused where values are known, NaN where they are not."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from estimators._core import checks


def as_observed(times, events) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Check observed times and which of them are events; a row that is neither is NaN."""
    times = as_times(times)
    marks = checks.as_vector("events", events, length=times.shape[0])
    known = (marks == 0) | (marks == 1)
    _refuse("events", marks, known, "be booleans, or 0 and 1")
    return jnp.where(known, times, jnp.nan), marks == 1


def as_censored(times, censoring_times) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Check observed times and the censoring time of every row, +inf for one never censored."""
    times = as_times(times)
    censoring = checks.as_float("censoring_times", censoring_times)
    if censoring.shape != times.shape:
        raise ValueError(
            f"censoring_times must have shape {times.shape}, as times; got {censoring.shape}"
        )
    later = censoring >= times
    _refuse("censoring_times", censoring, later, "not lie below the observed times")
    return jnp.where(later, times, jnp.nan), censoring.astype(times.dtype)


def as_times(times) -> Float[Array, " n"]:
    """Check observed times: finite and not negative."""
    times = checks.as_vector("times", times)
    possible = jnp.isfinite(times) & (times >= 0)
    _refuse("times", times, possible, "not be negative")
    return jnp.where(possible, times, jnp.nan)


def as_probabilities(probabilities, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Check probabilities of being uncensored, in (0, 1]."""
    array = checks.as_float("probabilities", probabilities)
    if array.shape != shape:
        raise ValueError(f"probabilities must have shape {shape}; got {array.shape}")
    possible = (array > 0) & (array <= 1)
    _refuse("probabilities", array, possible, "lie in (0, 1]")
    return jnp.where(possible, array, jnp.nan)


def _refuse(name: str, array, possible, must: str) -> None:
    if checks.is_concrete(possible) and not checks.holds(jnp.all, possible):
        bad = np.asarray(array)[~np.asarray(possible)]
        raise ValueError(
            f"{name} must {must}; {bad.size} of {array.size} fail, the first is {bad[0]}"
        )
