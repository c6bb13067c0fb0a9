"""Positive data: multiplicative noise is additive noise of the logarithm."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators.score._models import (
    AnalyticModel,
    ScoreModel,
    as_model,
)


class Multiplicative(Stored):
    """A score model of `log x` asked about positive x.

    Geometric Brownian noise, `x = x0 exp(sigma eps)`, has log-normal marginals, and
    multiplicative denoising score matching learns `x grad log p(x)`, which is the score of
    the logarithm less one. So train on `jnp.log(points)` and wrap the model; teleportation
    and every sampler work on the logarithm.

    Args:
        model: a score model of the logarithms.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> points = jnp.exp(jax.random.normal(jax.random.key(0), (500, 2)))
        >>> model = score.Multiplicative(score.Gaussian().fit(jnp.log(points)))
        >>> bool((model.denoise(points[:5], 0.5) > 0).all())
        True

    Reference: Dale meets Langevin: a multiplicative denoising diffusion model (arXiv
    2510.02730), eq. 12-16.
    """

    model: ScoreModel

    def __check_init__(self):
        as_model("model", self.model)

    def score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density of x itself: `(score of log x - 1) / x`."""
        x = _positive(x, self.model.dimension)
        return (self.model.score(jnp.log(x), sigma) - 1) / x

    def multiplicative_score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """`x grad log p(x)`, what multiplicative denoising score matching learns."""
        return self.model.score(jnp.log(_positive(x, self.model.dimension)), sigma) - 1

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """The exponential of the posterior mean of the clean logarithm: positive."""
        return jnp.exp(self.model.denoise(jnp.log(_positive(x, self.model.dimension)), sigma))

    def log_density(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log density of x, with the Jacobian, for a model that has one."""
        if not isinstance(self.model, AnalyticModel):
            raise ValueError(
                f"model must have a log density to ask for one; got {type(self.model).__name__}"
            )
        logs = jnp.log(_positive(x, self.model.dimension))
        return self.model.log_density(logs, sigma) - jnp.sum(logs, -1)

    def sample(
        self, n: int, sigma: Real[ArrayLike, ""] = 0.0, *, key: Key[Array, ""]
    ) -> Float[Array, "n d"]:
        """Draw positive rows, for a model that can be sampled."""
        if not isinstance(self.model, AnalyticModel):
            raise ValueError(
                "model must be analytic to be sampled without a sampler; got "
                f"{type(self.model).__name__}: exponentiate score.sample(model, ...).samples"
            )
        return jnp.exp(self.model.sample(n, sigma, key=key))


def _positive(x, dimension):
    return checks.positive("x", checks.as_queries("x", x, dimension))
