"""Teleportation: carry points over the high noise by an analytic model's own flow."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, Stored, checks
from estimators.score._models import (
    AnalyticModel,
    FittedGaussian,
    as_model,
    as_noised,
)
from estimators.score._schedules import as_schedule
from estimators.score._teleport._certificate import Certificate

# A level counts as reached if it is below the wanted noise by no more than rounding.
_SLACK = 1e-5


class Landing(Stored):
    """Where teleportation set down.

    Attributes:
        divergence: certified KL to the true law there, nats; NaN without a certificate.
        standard_error: of the divergence.
        index: how many levels of the schedule were skipped.
        from_sigma: where it took off.
        to_sigma: the level on which it landed.
    """

    divergence: Float[Array, ""]
    standard_error: Float[Array, ""]
    index: int = eqx.field(static=True)
    from_sigma: float = eqx.field(static=True)
    to_sigma: float = eqx.field(static=True)

    def __str__(self):
        said = f"from sigma {self.from_sigma:.3g} to {self.to_sigma:.3g}, {self.index} levels"
        if not checks.is_concrete(self.divergence) or np.isnan(self.divergence):
            return f"teleported {said} (no certificate)"
        return (
            f"teleported {said}; certified divergence {float(self.divergence):.3f} "
            f"± {float(self.standard_error):.3f} nats"
        )


class Teleport(Spec):
    """Skip the high noise by an analytic model's probability flow, before any sampler.

    A Gaussian's flow is closed-form and keeps the pairing of noise and sample; a mixture's is
    integrated (no network), and reaches lower. Composes with every sampler, schedule and
    parametrisation.

    Args:
        analytic: `FittedGaussian`, `FittedMixture`, or any analytic model.
        to_sigma: the noise to skip to; or
        certificate: a `Certificate` of `analytic`, which chooses it: the lowest noise at which
            the certified divergence is at most `tolerance`.
        tolerance: nats.
        steps: Runge-Kutta steps of a flow that has no closed form.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> teleport = score.Teleport(score.Gaussian().fit(points), to_sigma=3.0)
        >>> print(teleport.land(score.edm_schedule(18)))
        teleported from sigma 80 to 3.26, 8 levels (no certificate)

    Reference: Wang & Vastola 2024, sec. 6; the certificate and the mixture's flow are this
    library's.
    """

    analytic: AnalyticModel
    certificate: Certificate | None
    to_sigma: float | None = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(
        self,
        analytic: AnalyticModel,
        *,
        to_sigma: float | None = None,
        certificate: Certificate | None = None,
        tolerance: float = 0.05,
        steps: int = 24,
    ):
        if not isinstance(analytic, AnalyticModel):
            raise ValueError(
                f"analytic must be a fitted analytic model; got {type(analytic).__name__}"
            )
        if certificate is not None and not isinstance(certificate, Certificate):
            raise ValueError(
                f"certificate must be a score.Certificate; got {type(certificate).__name__}"
            )
        if to_sigma is None and certificate is None:
            raise ValueError("to_sigma or certificate must be given; both are None")
        if to_sigma is not None:
            to_sigma = float(checks.positive("to_sigma", to_sigma))
        self.analytic = analytic
        self.certificate = certificate
        self.to_sigma = to_sigma
        self.tolerance = float(checks.positive("tolerance", tolerance))
        self.steps = checks.integer("steps", steps, at_least=1)

    def land(self, sigmas: Sequence[float] | Real[ArrayLike, " levels"]) -> Landing:
        """The last level of a schedule that is not below the noise to skip to.

        Raises:
            ValueError: if `to_sigma` lies outside the schedule. A certificate that asks for
                more noise than the schedule has skips nothing.
        """
        levels = as_schedule("sigmas", sigmas)
        positive = levels[levels > 0]
        wanted = self.to_sigma
        if wanted is None:
            assert self.certificate is not None  # the constructor saw to it
            wanted = min(self.certificate.skip_sigma(self.tolerance), positive[0])
            wanted = max(wanted, positive[-1])
        if not positive[-1] * (1 - _SLACK) <= wanted <= positive[0] * (1 + _SLACK):
            raise ValueError(
                f"to_sigma must lie within the schedule, from {positive[-1]:g} to "
                f"{positive[0]:g}; got {wanted:g}"
            )
        index = int(np.sum(positive * (1 + _SLACK) >= wanted)) - 1
        reached = float(positive[index])
        if self.certificate is None:
            nothing = jnp.asarray(jnp.nan)
            return Landing(nothing, nothing, index, float(positive[0]), reached)
        grid = jnp.log(self.certificate.sigmas)
        error = jnp.interp(jnp.log(reached), grid, self.certificate.standard_error)
        price = self.certificate.at(reached)
        return Landing(price, error, index, float(positive[0]), reached)

    def carry(
        self, x: Float[Array, "*batch d"], from_sigma: float, to_sigma: float
    ) -> Float[Array, "*batch d"]:
        """Points at one noise level carried to another, along the analytic flow."""
        if from_sigma == to_sigma:
            return x
        if isinstance(self.analytic, FittedGaussian):
            return self.analytic.transport(x, from_sigma, to_sigma)
        return flow(self.analytic, x, from_sigma, to_sigma, steps=self.steps)


def flow(
    model: AnalyticModel,
    x: Real[ArrayLike, "*batch d"],
    from_sigma: Real[ArrayLike, ""],
    to_sigma: Real[ArrayLike, ""],
    *,
    steps: int = 24,
) -> Float[Array, "*batch d"]:
    """Carry `x` along a model's probability flow, `dx / dln sigma = x - D`, by Runge-Kutta.

    Args:
        model: any score model.
        x: `(*batch, d)`, at noise `from_sigma`.
        from_sigma: a number.
        to_sigma: a number, higher or lower.
        steps: steps of order four, evenly spaced in log sigma; four evaluations each.

    Returns:
        `(*batch, d)`, at noise `to_sigma`.

    Raises:
        ValueError: for noise that is not positive, or points of another width.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> gaussian = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (500, 2)))
        >>> x = jax.numpy.ones((1, 2))
        >>> gap = score.flow(gaussian, x, 5.0, 0.5) - gaussian.transport(x, 5.0, 0.5)
        >>> print(abs(gap).max() < 1e-3)
        True
    """
    x, _ = as_noised(as_model("model", model), x, sigma=0.0)
    ends = []
    for name, value in (("from_sigma", from_sigma), ("to_sigma", to_sigma)):
        value = checks.positive(name, checks.as_number(name, value))
        ends.append(jnp.log(value.astype(x.dtype)))
    steps = checks.integer("steps", steps, at_least=1)
    return _flow(model, x, ends[0], ends[1], steps)


@eqx.filter_jit
def _flow(model, x, start, end, steps: int):
    width = (end - start) / steps

    def slope(x, time):
        return x - model.denoise(x, jnp.exp(time))

    def step(index, x):
        time = start + index * width
        first = slope(x, time)
        second = slope(x + 0.5 * width * first, time + 0.5 * width)
        third = slope(x + 0.5 * width * second, time + 0.5 * width)
        fourth = slope(x + width * third, time + width)
        return x + width / 6 * (first + 2 * second + 2 * third + fourth)

    return jax.lax.fori_loop(0, steps, step, x)
