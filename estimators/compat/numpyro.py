"""A fitted density as a numpyro distribution: `distribution(fitted)`."""

import math
from typing import Any, ClassVar

import jax
from jaxtyping import Array, ArrayLike, Float, Real

from estimators.density import FittedKDE
from estimators.density._fitted import as_fitted

try:
    from numpyro.distributions import Distribution, constraints
    from numpyro.distributions.util import validate_sample
except ImportError as error:
    raise ImportError(
        "estimators.compat.numpyro needs numpyro, which is not installed. Write "
        "pip install 'estimators[numpyro]'"
    ) from error

__all__ = ["KernelDensity", "distribution"]

# Compiled, it does not look at values: a sampler may ask anywhere, and gets NaN for NaN.
_log_density = jax.jit(FittedKDE.log_density)


class KernelDensity(Distribution):
    """The law of a fitted density, over vectors of d columns; see `distribution`.

    Args:
        fitted: a kernel density estimate.
        validate_args: as for every numpyro distribution.
    """

    arg_constraints: ClassVar[dict] = {}
    pytree_data_fields = ("fitted",)
    _support = constraints.real_vector
    # Draws choose a centre at random: they have no derivative in the weights.
    reparametrized_params: ClassVar[list[str]] = []

    def __init__(self, fitted: FittedKDE, *, validate_args: bool | None = None):
        self.fitted = fitted
        columns = fitted.points.shape[1]
        super().__init__((), (columns,), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        """False: see `reparametrized_params`."""
        return False

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample d"]:
        """Draw from the estimate, `sample_shape + (d,)`; old-style keys are taken too."""
        if hasattr(key, "dtype") and not jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.wrap_key_data(key)
        n = math.prod(sample_shape)
        if n == 0:
            return jax.numpy.zeros((*sample_shape, *self.event_shape), self.fitted.points.dtype)
        return self.fitted.sample(n, key=key).reshape(*sample_shape, *self.event_shape)

    @validate_sample
    def log_prob(
        self, value: Real[ArrayLike, "*batch d"], intermediates: list | None = None
    ) -> Float[Array, "*batch"]:
        """Log density at `value`, `(*batch, d) -> (*batch,)`; NaN at NaN, as everywhere there."""
        return _log_density(self.fitted, value)


def distribution(fitted: FittedKDE) -> KernelDensity:
    """A fitted density as a `numpyro.distributions.Distribution`.

    It may be a prior, for instance the posterior draws of an earlier study, or the law of an
    observation. With Gaussian or Student kernels it has a derivative everywhere, so gradient
    samplers (NUTS, HMC) and variational inference work. Event shape `(d,)`, batch shape `()`,
    support all of R^d.

    Args:
        fitted: a kernel density estimate of d columns. Each evaluation costs n kernels: a few
            thousand points keep a sampler fast.

    Raises:
        ImportError: if numpyro is not installed (the extra `numpyro`).

    Example:
        >>> import jax
        >>> import numpyro
        >>> from estimators import compat, density
        >>> draws = jax.random.normal(jax.random.key(0), (500, 2))  # of an earlier posterior
        >>> prior = compat.numpyro.distribution(density.KDE("scott").fit(draws))
        >>> def model(y):
        ...     theta = numpyro.sample("theta", prior)
        ...     numpyro.sample("y", numpyro.distributions.Normal(theta[0], 0.5), obs=y)
        >>> prior.event_shape, prior.sample(jax.random.key(1), (3,)).shape
        ((2,), (3, 2))

    When it fails: with separated clusters, where no gradient leads from one to the other and a
    chain stays in the one that it began in. As a prior its tails are those of the kernel, much
    lighter than they may be in truth: data that disagree with it are not believed.
    """
    return KernelDensity(as_fitted("fitted", fitted))
