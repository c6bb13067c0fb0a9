"""What every score model is: a denoiser at every noise level, and what follows from it."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Fitted, checks


class ScoreModel(Fitted):
    """A denoiser `D(x, sigma) = E[x0 | x0 + sigma noise = x]`, and the score that it implies.

    `sigma` is a noise standard deviation in data units: a number, or an array that broadcasts
    against the batch axes of `x`. Samplers, certificates and judgements take any such model;
    a class of your own needs `dimension` and `denoise`.
    """

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """Number of columns of the data."""

    @abc.abstractmethod
    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of the clean point given `x` at noise `sigma`."""

    def score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density at noise `sigma`: `(D(x, sigma) - x) / sigma^2`."""
        x, sigma = as_noised(self, x, positive=True, sigma=sigma)
        return (self.denoise(x, sigma) - x) / sigma[..., None] ** 2


class AnalyticModel(ScoreModel):
    """A score model whose law is known: it also has a log density, and can be sampled."""

    @abc.abstractmethod
    def log_density(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log density of the law at noise `sigma`."""

    @abc.abstractmethod
    def sample(
        self, n: int, sigma: Real[ArrayLike, ""] = 0.0, *, key: Key[Array, ""]
    ) -> Float[Array, "n d"]:
        """Draw `n` rows from the law at noise `sigma`."""


def as_noised(model: ScoreModel, x, *, positive: bool = False, **noises) -> tuple[Array, ...]:
    """Check points and noise levels: each noise broadcast to the batch shape of `x`.

    Noise must not be negative, with `positive` not zero either; inside jit it is NaN then.
    """
    x = checks.as_queries("x", x, model.dimension)
    checked = []
    for name, noise in noises.items():
        noise = as_noise(name, checks.as_float(name, noise), positive=positive).astype(x.dtype)
        try:
            checked.append(jnp.broadcast_to(noise, x.shape[:-1]))
        except ValueError:
            raise ValueError(
                f"{name} must broadcast to the batch shape {x.shape[:-1]} of x; "
                f"got shape {noise.shape}"
            ) from None
    return (x, *checked)


def as_noise(name: str, noise: Array, *, positive: bool = False) -> Array:
    """Check noise levels alone, as `as_noised` does."""
    noise = checks.positive(name, noise, zero=not positive)
    allowed = jnp.isfinite(noise) & ((noise > 0) if positive else (noise >= 0))
    return jnp.where(allowed, noise, jnp.nan)


def as_model(name: str, model) -> ScoreModel:
    """Check that something is a score model."""
    if not isinstance(model, ScoreModel):
        raise ValueError(
            f"{name} must be a fitted score model (score.Gaussian().fit(points), a trained "
            f"denoiser, ...) or subclass score.ScoreModel; got {type(model).__name__}"
        )
    return model
