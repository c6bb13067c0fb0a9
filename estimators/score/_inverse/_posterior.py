"""The exact posterior of a Gaussian or a mixture, given a linear observation."""

import jax
import jax.numpy as jnp

from estimators._core import product
from estimators.score._inverse._observation import Observation, as_observation
from estimators.score._models import (
    ComponentModel,
    FittedMixture,
    MixtureInfo,
)


def posterior(model: ComponentModel, observation: Observation) -> FittedMixture:
    """The law of x0 given what was seen of it, as a mixture with full covariances.

    Each component is conditioned by itself, and weighted anew by how well it foretold the
    observation. The result is a score model: its `sample`, `score` and `denoise` are exact.

    Args:
        model: a `FittedGaussian` or `FittedMixture`, the prior.
        observation: what was seen.

    Returns:
        A `FittedMixture`.

    Raises:
        ValueError: if the operator's columns are not the model's.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> prior = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (2000, 2)))
        >>> seen = score.Observation(jnp.array([[1.0, 0.0]]), jnp.array([2.0]), 0.1)
        >>> print(score.posterior(prior, seen).means.round(1))
        [[2. 0.]]

    Reference: Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.113-2.117.
    """
    if not isinstance(model, ComponentModel):
        raise ValueError(
            "model must be a FittedGaussian or a FittedMixture, whose posterior is known; got "
            f"{type(model).__name__}: sample score.guided(model, observation) instead"
        )
    return _posterior(model, as_observation(observation, model.dimension))


@jax.jit
def _posterior(model: ComponentModel, observation: Observation) -> FittedMixture:
    components = model.components
    d = components.means.shape[1]
    operator = observation.operator

    def one(component):
        log_weight, mean, basis, eigenvalues, floor = component
        floor = jnp.zeros_like(floor) if components.complete else floor
        covariance = product(basis * (eigenvalues - floor)[None], basis.T)
        covariance = covariance + floor * jnp.eye(d, dtype=covariance.dtype)
        cross = product(covariance, operator.T)
        seen = product(operator, cross) + jnp.diag(observation.noise**2)
        factor = jnp.linalg.cholesky(seen)
        gap = observation.value - product(operator, mean)
        white = jax.scipy.linalg.solve_triangular(factor, gap, lower=True)
        evidence = -0.5 * jnp.sum(white**2) - jnp.sum(jnp.log(jnp.diagonal(factor)))
        gain = jax.scipy.linalg.cho_solve((factor, True), cross.T).T
        # Joseph's form: a sum of squares, where the difference of covariances would lose what
        # little variance a precise observation leaves.
        kept = jnp.eye(d, dtype=covariance.dtype) - product(gain, operator)
        after = product(product(kept, covariance), kept.T)
        after = after + product(gain * (observation.noise**2)[None], gain.T)
        values, vectors = jnp.linalg.eigh(0.5 * (after + after.T))
        return log_weight + evidence, mean + product(gain, gap), vectors, jnp.maximum(values, 0)

    log_weights, means, basis, eigenvalues = jax.lax.map(one, tuple(components))
    nothing = jnp.asarray(jnp.nan, means.dtype)
    zero = jnp.zeros((), jnp.int32)
    return FittedMixture(
        jax.nn.log_softmax(log_weights),
        means,
        basis,
        eigenvalues,
        jnp.zeros_like(log_weights),
        MixtureInfo(nothing, zero, zero),
    )
