"""A network made into a denoiser: scaled so that it starts as a closed form.

    D(x, s) = mu + skip y + out F(into y, ln(s) / 4),    y = x - mu

with skip = v / (v + s^2), out = s sqrt(v / (v + s^2)), into = 1 / sqrt(v + s^2) and v a
variance: the mean one of the data ("edm"; Karras et al. 2022, table 1), or that of each
eigenmode ("spectral": with F = 0 this is the Gaussian denoiser, and the network learns what
the Gaussian lacks). "hybrid" scales what goes in by the mean variance and what comes out by
mode: whitening the input hides how far apart clusters lie along a mode of high variance.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Stored
from estimators.score._models import (
    FittedGaussian,
    ScoreModel,
    as_noised,
    by_mode,
)
from estimators.score._teleport import Certificate, Teleport
from estimators.training import Result

# Which of the three factors act by mode; the others by the mean variance.
PRECONDITIONINGS = {
    "edm": (),
    "hybrid": ("skip", "out"),
    "spectral": ("skip", "out", "into"),
}


class LearnedDenoiser(ScoreModel):
    """A trained denoiser with its Gaussian part built in; `train_denoiser` makes it.

    Attributes:
        network: `(inputs (m, d), times (m,)) -> (m, d)`.
        gaussian: the Gaussian of the training rows.
        certificate: divergence from that Gaussian at each noise, on rows held out; None before
            training.
        info: how training went, as `training.minimise` says it, without the parameters; None
            before.
        preconditioning: "edm", "hybrid" or "spectral".
    """

    network: Callable
    gaussian: FittedGaussian
    certificate: Certificate | None
    info: Result | None
    preconditioning: str = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """Number of columns of the data."""
        return self.gaussian.dimension

    @property
    def teleport(self) -> Teleport | None:
        """The Gaussian and its certificate: what `sample(..., teleport="auto")` uses."""
        if self.certificate is None:
            return None
        return Teleport(self.gaussian, certificate=self.certificate)

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of the clean point given `x` at noise `sigma`, as learned."""
        x, sigma = as_noised(self, x, positive=True, sigma=sigma)
        rows = x.reshape(-1, x.shape[-1])
        scaling = Scaling(self.gaussian, self.preconditioning)
        return _denoise(self.network, scaling, rows, sigma.reshape(-1)).reshape(x.shape)


class Scaling(Stored):
    """The three factors of the module's docstring."""

    gaussian: FittedGaussian
    kind: str = eqx.field(static=True)

    def apply(self, name: str, rows, sigma):
        """Multiply displacements `(m, d)` by one of the factors."""
        factor = _FACTORS[name]
        if name in PRECONDITIONINGS[self.kind]:
            return by_mode(self.gaussian, factor, rows, sigma, sigma)
        return rows * factor(self.mean_variance, sigma, sigma)[:, None]

    @property
    def mean_variance(self) -> Float[Array, ""]:
        """Of a column."""
        return self.gaussian.total_variance / self.gaussian.dimension

    def weight(self, sigma):
        """One over the mean square of `out`: errors count relative to what there is to learn."""
        if "out" not in PRECONDITIONINGS[self.kind]:
            return _out(self.mean_variance, sigma, sigma) ** -2.0
        d, rank = self.gaussian.basis.shape
        of_modes = _out(self.gaussian.eigenvalues[None], sigma[:, None], sigma[:, None]) ** 2
        of_floor = _out(self.gaussian.floor, sigma, sigma) ** 2
        return d / (jnp.sum(of_modes, -1) + (d - rank) * of_floor)


def precondition(network, scaling: Scaling, rows, sigma):
    """The denoiser on rows `(m, d)` at noise `(m,)`."""
    centred = rows - scaling.gaussian.mean[None]
    said = network(scaling.apply("into", centred, sigma), 0.25 * jnp.log(sigma))
    kept = scaling.apply("skip", centred, sigma)
    return scaling.gaussian.mean[None] + kept + scaling.apply("out", said, sigma)


_denoise = eqx.filter_jit(precondition)


def _skip(v, sigma, _):
    return v / (v + sigma**2)


def _out(v, sigma, _):
    return sigma * jnp.sqrt(v / (v + sigma**2))


def _into(v, sigma, _):
    return jax.lax.rsqrt(v + sigma**2)


_FACTORS = {"skip": _skip, "out": _out, "into": _into}
