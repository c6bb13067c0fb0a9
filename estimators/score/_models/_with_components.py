"""A model made of Gaussian components: its methods, whatever fitted it."""

import abc

import jax
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import checks
from estimators.score._models import _components
from estimators.score._models._components import Components
from estimators.score._models._model import AnalyticModel, as_noise, as_noised


class ComponentModel(AnalyticModel):
    """A mixture of Gaussians with any number of components; exact, in log space."""

    @property
    @abc.abstractmethod
    def components(self) -> Components:
        """The Gaussians that make up the law."""

    @property
    def dimension(self) -> int:
        """Number of columns of the data."""
        return self.components.means.shape[1]

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of the clean point given `x` at noise `sigma`."""
        return by_rows(_denoise, self, *as_noised(self, x, sigma=sigma))

    def score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density at noise `sigma`."""
        return by_rows(_score, self, *as_noised(self, x, sigma=sigma))

    def log_density(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log density at noise `sigma`, `(*batch,)`."""
        return by_rows(_log_density, self, *as_noised(self, x, sigma=sigma))

    def sample(
        self, n: int, sigma: Real[ArrayLike, ""] = 0.0, *, key: Key[Array, ""]
    ) -> Float[Array, "n d"]:
        """Draw `n` rows from the law at noise `sigma`."""
        checks.integer("n", n, at_least=1)
        sigma = as_noise("sigma", checks.as_number("sigma", sigma))
        return _sample(self.components, n, sigma, checks.as_key(key))


def by_rows(function, model: ComponentModel, x, *noises):
    """Evaluate a function of components, rows and noises on flattened batch axes."""
    rows = x.reshape(-1, x.shape[-1])
    value = function(model.components, rows, *(noise.reshape(-1) for noise in noises))
    return value.reshape(x.shape[:-1] + value.shape[1:])


_denoise = jax.jit(_components.denoise)
_score = jax.jit(_components.score)
_log_density = jax.jit(_components.log_density)
_sample = jax.jit(_components.sample, static_argnums=1)
