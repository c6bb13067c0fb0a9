"""A calibration error from how far outcomes deviate near each row, with its standard error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Stored, checks, normal_interval


class CalibrationError(Stored):
    """An estimated calibration error; see `calibration_error` and `kernel_calibration_error`.

    Attributes:
        value: the error to the power that was asked for.
        low: an estimate whose mean is not above the truth.
        high: one whose mean is not below it; at power 2 both are the unbiased one.
        standard_error: asymptotic. At power 2, where probabilities are calibrated, it is too
            large by a factor of about root 2.
    """

    value: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    standard_error: Float[Array, ""]

    def interval(self, coverage: float = 0.95) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """A confidence interval: from `low` down and from `high` up by the normal law, above 0."""
        lower, _ = normal_interval(self.low, self.standard_error, coverage)
        _, upper = normal_interval(self.high, self.standard_error, coverage)
        return jnp.maximum(lower, 0), jnp.maximum(upper, 0)


POWERS = (1, 2)


class Deviations(NamedTuple):
    """How far outcomes near a row are above its probability, by the other rows.

    Attributes:
        mean: the deviation.
        noise: its standard deviation where probabilities are right.
        plain: the deviation that is counted without debiasing.
    """

    mean: Float[Array, "n columns"]
    noise: Float[Array, "n columns"]
    plain: Float[Array, "n columns"]


def from_deviations(
    near: Deviations, residuals: Float[Array, "n columns"], power: int, debias: bool
) -> CalibrationError:
    """The mean of `abs(d)**power`, with d the mean residual expected near each row.

    Let d be estimated without the row and r be the row's residual, outcome less probability.
    Then the mean of `d r`, or at power 1 of `sign(d) r`, is the one that is wanted where d is
    exact, and is 0 where probabilities are right, whatever d. The sign is smoothed over half the
    noise of d: a row that turned it alone would count with its whole residual. The plain form is
    the mean of `abs(d)**power`, to which noise only adds. Both move with a row by

        power sign(d) abs(d)**(power - 1) r - (power - 1) abs(d)**power

    to first order, whose spread gives the standard error.
    """
    d, tiny = near.mean, jnp.finfo(near.mean.dtype).tiny
    smooth = jax.lax.erf(d / jnp.maximum(near.noise, tiny) * 2**0.5)
    debiased = jnp.mean(jnp.sum((smooth if power == 1 else d) * residuals, 1))
    plain = jnp.mean(jnp.sum(jnp.abs(near.plain) ** power, 1))
    slope = jnp.sign(d) * jnp.abs(d) ** (power - 1)
    influence = power * slope * residuals - (power - 1) * jnp.abs(d) ** power
    error = jnp.std(jnp.sum(influence, 1)) / len(d) ** 0.5
    high = jnp.maximum(plain, debiased) if power == 1 else debiased
    beside = jax.lax.stop_gradient((debiased, high, error))
    return CalibrationError(debiased if debias else plain, *beside)


def as_power(power) -> int:
    """Check the power that a deviation is raised to."""
    if power not in POWERS:
        raise ValueError(f"power must be one of {POWERS}; got {power!r}")
    return checks.integer("power", power, at_least=1)
