"""At which noise the score of finite data condenses onto the data, and how much of it has."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import checks
from estimators.score._judgement._bisection import crossing
from estimators.score._models import (
    FittedEmpirical,
    FittedGaussian,
    as_gaussian,
)


def condensation_noise(gaussian: FittedGaussian, n: int | Real[ArrayLike, ""]) -> Float[Array, ""]:
    """The noise s_C below which the score of `n` rows memorises them.

    Solves `sum_k log(1 + lam_k / s^2) / 2 = log n`: the entropy that noise s leaves to be told
    against that of telling n rows apart (the criterion of the random energy model).

    Args:
        gaussian: of the rows; its spectrum.
        n: how many rows there are.

    Returns:
        `()`, in data units; differentiable in the spectrum.

    Raises:
        ValueError: for fewer than two rows.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (1000, 10))
        >>> print(f"{score.condensation_noise(score.Gaussian().fit(points), 1000):.1f}")
        0.6

    Reference: Biroli, Bonnaire, de Bortoli & Mezard, Dynamical regimes of diffusion models
    (2024); Biroli & Mezard, arXiv 2408.05807, for the same in density estimation.
    """
    as_gaussian("gaussian", gaussian)
    n = checks.as_number("n", n)
    if checks.is_concrete(n) and not checks.holds(lambda n: jnp.isfinite(n) & (n > 1), n):
        raise ValueError(f"n must be at least 2; got {n}")
    return _condensation_noise(gaussian, jnp.where(jnp.isfinite(n) & (n > 1), n, jnp.nan))


@jax.jit
def _condensation_noise(gaussian: FittedGaussian, n):
    d, rank = gaussian.basis.shape
    wanted = jnp.log(n.astype(gaussian.mean.dtype))

    def information(log_noise, gaussian):
        precision = jnp.exp(-2 * log_noise)
        of_modes = jnp.sum(jnp.log1p(gaussian.eigenvalues * precision))
        return 0.5 * (of_modes + (d - rank) * jnp.log1p(gaussian.floor * precision))

    fixed = jax.lax.stop_gradient(gaussian)
    largest = jnp.maximum(jnp.max(fixed.eigenvalues, initial=0.0), fixed.floor)
    middle = 0.5 * jnp.log(largest)

    def at_fixed(log_noise):
        return information(log_noise, fixed)

    # Were all d modes as large as the largest it would be the highest, with that one alone the
    # lowest: log(1 + lam / s^2) is 2 log n over their number. A nat more for rounding.
    entropy = 2 * jax.lax.stop_gradient(wanted)
    bounds = (middle - 0.5 * _log_expm1(y) for y in (entropy, entropy / d))
    low, high = (bound + margin for bound, margin in zip(bounds, (-1, 1), strict=True))
    found = crossing(at_fixed, jax.lax.stop_gradient(wanted), low, high)
    # One Newton step: none for the value, the implicit derivative for gradients.
    slope = jax.lax.stop_gradient(jax.grad(information)(found, fixed))
    gap = information(found, gaussian) - wanted
    return jnp.exp(found - (gap - jax.lax.stop_gradient(gap)) / slope)


def _log_expm1(y):
    """`log(exp(y) - 1)`, of y that the exponential would overflow at too."""
    return y + jnp.log(-jnp.expm1(-y))


def memorised_share(
    empirical: FittedEmpirical,
    sigma: Real[ArrayLike, ""],
    *,
    key: Key[Array, ""],
    threshold: float = 0.9,
    draws: int = 1000,
) -> Float[Array, ""]:
    """Share of noised data points at which a single point holds most of the kernel weight.

    Args:
        empirical: the data.
        sigma: the noise.
        key: for the draws.
        threshold: the weight that counts as most, above one half. It is inferred from the
            participation ratio, which above `t^2 + (1 - t)^2` proves a weight above t.
        draws: how many points are noised.

    Returns:
        `()`; its standard error is `sqrt(share (1 - share) / draws)`.
    """
    if not isinstance(empirical, FittedEmpirical):
        raise ValueError(
            f"empirical must be a FittedEmpirical (score.Empirical().fit(points)); got "
            f"{type(empirical).__name__}"
        )
    checks.integer("draws", draws, at_least=1)
    if not 0.5 < threshold < 1:
        raise ValueError(f"threshold must lie between 0.5 and 1; got {threshold}")
    x = empirical.sample(draws, sigma, key=key)
    proves = threshold**2 + (1 - threshold) ** 2
    ratio = empirical.participation_ratio(x, sigma)
    return jnp.mean(jnp.where(jnp.isnan(ratio), ratio, ratio > proves))
