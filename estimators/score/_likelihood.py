"""Log-likelihood by the probability flow, its Gaussian tail closed analytically."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators.score._models import (
    AnalyticModel,
    ScoreModel,
    as_model,
    as_noised,
)


class Likelihood(Stored):
    """What `log_likelihood` returns.

    Attributes:
        value: `(*batch,)`, log density at the lowest noise, nats; NaN where the solver failed.
        standard_error: `(*batch,)`, of the estimated divergence; 0 where it is exact.
        noised: `(*batch, d)`, where the flow arrives at the highest noise.
    """

    value: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    noised: Float[Array, "*batch d"]


def log_likelihood(
    model: ScoreModel,
    x: Real[ArrayLike, "*batch d"],
    *,
    closing: AnalyticModel,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    probes: int | None = None,
    key: Key[Array, ""] | None = None,
    tolerance: float = 1e-5,
) -> Likelihood:
    """Log density that a score model gives to `x`, by the change of variables along its flow.

    `log p(x; min) = log q(x_max; max) + int div((x - D) / sigma) dsigma`, q an analytic law:
    with the Gaussian of the data in place of `N(0, max^2 I)`, `sigma_max` may be as low as the
    noise to which teleportation is certified, and the error is that divergence.

    Args:
        model: any score model.
        x: `(*batch, d)`, points at noise `sigma_min`.
        closing: the law at `sigma_max`, a `FittedGaussian` usually.
        sigma_min: where the flow starts.
        sigma_max: where it ends.
        probes: None takes the exact divergence, d derivatives for each evaluation; a number
            takes as many random projections (Hutchinson 1989; Rademacher), whose mean is
            unbiased and whose spread is the standard error; every row has its own.
        key: for the probes.
        tolerance: relative and absolute, of the adaptive solver (diffrax, Tsitouras 5).

    Raises:
        ValueError: for levels that do not increase, or probes without a key.
        ImportError: without diffrax (`pip install 'estimators[score]'`).

    Example:
        >>> import jax
        >>> from estimators import score
        >>> gaussian = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (500, 2)))
        >>> x = jax.numpy.ones((1, 2))
        >>> found = score.log_likelihood(gaussian, x, closing=gaussian, sigma_max=5.0)
        >>> print(abs(found.value - gaussian.log_density(x, 0.002)).max() < 1e-3)
        True

    Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential
    Equations (2021), sec. 4.3 and appendix D.
    """
    model = as_model("model", model)
    x, _ = as_noised(model, x, sigma=sigma_min)
    for name, value in (("sigma_min", sigma_min), ("tolerance", tolerance)):
        checks.positive(name, value)
    checks.positive("sigma_max", sigma_max)
    if not sigma_max > sigma_min:
        raise ValueError(f"sigma_max must be above sigma_min = {sigma_min}; got {sigma_max}")
    if not isinstance(closing, AnalyticModel):
        raise ValueError(f"closing must be an analytic model; got {type(closing).__name__}")
    rows = x.reshape(-1, x.shape[-1])
    count, d = rows.shape
    if probes is None:
        directions = jnp.eye(d, dtype=x.dtype)
    else:
        probes = checks.integer("probes", probes, at_least=1)
        if key is None:
            raise ValueError("key must be given for random probes; got None")
        shape = (count, probes, d)
        directions = jax.random.rademacher(checks.as_key(key), shape, x.dtype)
    ends = jnp.log(jnp.asarray([sigma_min, sigma_max], x.dtype))
    noised, traces = _integrate(model, rows, ends, directions, jnp.asarray(tolerance, x.dtype))
    if probes is None:
        grown, error = jnp.sum(traces, -1), jnp.zeros_like(traces[:, 0])
    else:
        grown = jnp.mean(traces, -1)
        root = jnp.sqrt(jnp.asarray(probes, x.dtype))
        spread = jnp.std(traces, -1, ddof=1) if probes > 1 else jnp.full_like(grown, jnp.nan)
        error = spread / root
    value = closing.log_density(noised, sigma_max) + grown
    batch = x.shape[:-1]
    return Likelihood(value.reshape(batch), error.reshape(batch), noised.reshape(x.shape))


@eqx.filter_jit
def _integrate(model, rows, ends, directions, tolerance):
    """The flow of every row in log sigma, and the integral of v . (dx/dt)' v for each v, which
    are those of all rows or each row's own.
    """
    try:
        import diffrax
    except ImportError as error:
        message = "log_likelihood needs diffrax: pip install 'estimators[score]'"
        raise ImportError(message) from error

    def field(time, state, directions):
        x, _ = state

        def velocity(x):
            return x - model.denoise(x, jnp.exp(time))

        def along(direction):
            slope, change = jax.jvp(velocity, (x,), (direction,))
            return slope, jnp.sum(change * direction)

        slopes, traces = jax.vmap(along)(directions)
        return slopes[0], traces

    def one(row):
        x, own = row
        own = directions if own is None else own
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            t0=ends[0],
            t1=ends[1],
            dt0=None,
            y0=(x, jnp.zeros(own.shape[0], x.dtype)),
            args=own,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=4096,
            throw=False,
        )
        fine = solution.result == diffrax.RESULTS.successful
        x, traces = jax.tree.map(lambda a: a[-1], solution.ys)
        return jnp.where(fine, x, jnp.nan), jnp.where(fine, traces, jnp.nan)

    probes = directions if directions.ndim == 3 else None
    return jax.lax.map(one, (rows, probes), batch_size=256)
