"""Other ways to write noise: x_t = alpha(t) x0 + sigma(t) eps, by the exact change of variables.

Everything in this room is about x0 + s eps. With s = sigma / alpha, x_t / alpha is exactly
that, so a schedule changes nothing but names:

    score_t(x) = score(x / alpha, s) / alpha        D_t(x) = D(x / alpha, s)

`Noised` asks a model in the variables of a schedule; `Predictor` makes a model of a network
that was trained in them.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, Stored, checks
from estimators.score._models import (
    AnalyticModel,
    FittedGaussian,
    ScoreModel,
    as_model,
    as_noised,
)

PREDICTIONS = ("clean", "noise", "velocity", "flow", "score")


class Parametrisation(Spec):
    """A schedule of signal `alpha(t)` and noise `sigma(t)`; `time(s)` inverts s = sigma / alpha."""

    @abc.abstractmethod
    def alpha(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Factor of the signal."""

    @abc.abstractmethod
    def sigma(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Standard deviation of the noise."""

    @abc.abstractmethod
    def time(self, ratio: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time at which `sigma / alpha` is the ratio."""


class VarianceExploding(Parametrisation):
    """`alpha = 1, sigma = t`: this room's own variables (Karras et al. 2022)."""

    def alpha(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """One."""
        return jnp.ones_like(time)

    def sigma(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time itself."""
        return time

    def time(self, ratio: Float[Array, "..."]) -> Float[Array, "..."]:
        """The ratio itself."""
        return ratio


class VariancePreserving(Parametrisation):
    """`alpha^2 + sigma^2 = 1` with noise added at a linear rate (Song et al. 2021, eq. 33).

    `log alpha = -t^2 (rate_end - rate_start) / 4 - t rate_start / 2`, t in (0, 1].
    """

    rate_start: float = 0.1
    rate_end: float = 20.0

    def alpha(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Factor of the signal."""
        slope = self.rate_end - self.rate_start
        return jnp.exp(-0.25 * slope * time**2 - 0.5 * self.rate_start * time)

    def sigma(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """`sqrt(1 - alpha^2)`, without the cancellation at small times."""
        slope = self.rate_end - self.rate_start
        return jnp.sqrt(-jnp.expm1(-0.5 * slope * time**2 - self.rate_start * time))

    def time(self, ratio: Float[Array, "..."]) -> Float[Array, "..."]:
        """The positive root of the quadratic in the log of alpha."""
        slope, start = self.rate_end - self.rate_start, self.rate_start
        grown = jnp.log1p(ratio**2)
        return 2 * grown / (start + jnp.sqrt(start**2 + 2 * slope * grown))


class CosineNoise(Parametrisation):
    """`alpha = cos(pi t / 2), sigma = sin(pi t / 2)`, t in (0, 1) (Nichol & Dhariwal 2021)."""

    def alpha(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Factor of the signal."""
        return jnp.cos(0.5 * jnp.pi * time)

    def sigma(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Standard deviation of the noise."""
        return jnp.sin(0.5 * jnp.pi * time)

    def time(self, ratio: Float[Array, "..."]) -> Float[Array, "..."]:
        """By the arc tangent."""
        return jnp.arctan(ratio) * (2 / jnp.pi)


class FlowMatching(Parametrisation):
    """`alpha = 1 - t, sigma = t`, t in (0, 1): straight lines (Lipman et al. 2023)."""

    def alpha(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """Factor of the signal."""
        return 1 - time

    def sigma(self, time: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time itself."""
        return time

    def time(self, ratio: Float[Array, "..."]) -> Float[Array, "..."]:
        """`s / (1 + s)`."""
        return ratio / (1 + ratio)


class Noised(Stored):
    """A score model asked in the variables of a parametrisation, `x_t = alpha x0 + sigma eps`.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (2000, 3))
        >>> noised = score.Noised(score.Gaussian().fit(points), score.FlowMatching())
        >>> noised.predict(points[:2], 0.5, "flow").shape
        (2, 3)
    """

    model: ScoreModel
    parametrisation: Parametrisation

    def __check_init__(self):
        as_model("model", self.model)
        _as_parametrisation(self.parametrisation)

    def score(
        self, x: Real[ArrayLike, "*batch d"], time: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density of `x_t`."""
        return self.predict(x, time, "score")

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], time: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of x0 given `x_t`."""
        return self.predict(x, time, "clean")

    def predict(
        self, x: Real[ArrayLike, "*batch d"], time: Real[ArrayLike, "..."], what: str
    ) -> Float[Array, "*batch d"]:
        """What a network with this target would say at `x_t`.

        Args:
            x: the noised points.
            time: where on the schedule; broadcasts against the batch axes.
            what: "clean" (x0), "noise" (eps), "velocity" (alpha eps - sigma x0; Salimans & Ho
                2022), "flow" (eps - x0) or "score".
        """
        checks.one_of("what", what, PREDICTIONS)
        x, time = as_noised(self.model, x, time=time)
        alpha, sigma = _columns(self.parametrisation, time)
        if what == "score":
            return self.model.score(x / alpha, (sigma / alpha)[..., 0]) / alpha
        clean = self.model.denoise(x / alpha, (sigma / alpha)[..., 0])
        return _targets(x, clean, alpha, sigma)[what]

    def log_density(
        self, x: Real[ArrayLike, "*batch d"], time: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log density of `x_t`, for a model that has one."""
        if not isinstance(self.model, AnalyticModel):
            raise ValueError(
                f"model must have a log density to ask for one; got {type(self.model).__name__}"
            )
        x, time = as_noised(self.model, x, time=time)
        alpha, sigma = _columns(self.parametrisation, time)
        value = self.model.log_density(x / alpha, (sigma / alpha)[..., 0])
        return value - x.shape[-1] * jnp.log(alpha[..., 0])

    def transport(
        self,
        x: Real[ArrayLike, "*batch d"],
        from_time: Real[ArrayLike, "..."],
        to_time: Real[ArrayLike, "..."],
    ) -> Float[Array, "*batch d"]:
        """Carry `x` along the probability flow from one time to another, for a Gaussian."""
        if not isinstance(self.model, FittedGaussian):
            raise ValueError(
                "model must be a FittedGaussian for a closed-form flow; got "
                f"{type(self.model).__name__}"
            )
        x, from_time, to_time = as_noised(self.model, x, from_time=from_time, to_time=to_time)
        alpha, sigma = _columns(self.parametrisation, from_time)
        to_alpha, to_sigma = _columns(self.parametrisation, to_time)
        ends = (sigma / alpha)[..., 0], (to_sigma / to_alpha)[..., 0]
        return to_alpha * self.model.transport(x / alpha, *ends)


class Predictor(ScoreModel):
    """A score model made of a function `(x_t, t) -> prediction` in any parametrisation.

    Args:
        function: takes `(*batch, d)` points and `(*batch,)` times; a pytree, an equinox module
            for example.
        columns: d.
        parametrisation: the schedule that it was trained with.
        predicts: its target, see `Noised.predict`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import score
        >>> zero_flow = score.Predictor(lambda x, t: -x, 2, score.FlowMatching(), "flow")
        >>> zero_flow.denoise(jnp.ones((1, 2)), 1.0).shape
        (1, 2)
    """

    function: Callable
    columns: int = eqx.field(static=True)
    parametrisation: Parametrisation
    predicts: str = eqx.field(static=True)

    def __init__(
        self, function: Callable, columns: int, parametrisation: Parametrisation, predicts: str
    ):
        self.function = function
        self.columns = checks.integer("columns", columns, at_least=1)
        self.parametrisation = _as_parametrisation(parametrisation)
        self.predicts = checks.one_of("predicts", predicts, PREDICTIONS)

    @property
    def dimension(self) -> int:
        """Number of columns of the data."""
        return self.columns

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of the clean point given `x` at noise `sigma`."""
        x, ratio = as_noised(self, x, sigma=sigma)
        time = self.parametrisation.time(ratio)
        alpha, sigma = _columns(self.parametrisation, time)
        x = alpha * x
        said = self.function(x, time)
        if getattr(said, "shape", None) != x.shape:
            raise ValueError(
                f"function must map points {x.shape} and times {time.shape} to {x.shape}; it "
                f"returns {getattr(said, 'shape', type(said).__name__)}"
            )
        # Each target is linear in the clean point and x_t; solved for the clean point.
        if self.predicts == "clean":
            return said
        if self.predicts == "noise":
            return (x - sigma * said) / alpha
        if self.predicts == "score":
            return (x + sigma**2 * said) / alpha
        if self.predicts == "velocity":
            return (alpha * x - sigma * said) / (alpha**2 + sigma**2)
        return (x - sigma * said) / (alpha + sigma)


def _as_parametrisation(parametrisation) -> Parametrisation:
    if not isinstance(parametrisation, Parametrisation):
        raise ValueError(
            "parametrisation must be one, score.FlowMatching() for example; got "
            f"{parametrisation!r:.60}"
        )
    return parametrisation


def _columns(parametrisation, time):
    """Signal and noise at each row, as columns."""
    alpha, sigma = parametrisation.alpha(time)[..., None], parametrisation.sigma(time)[..., None]
    inside = (alpha > 0) & (sigma >= 0)
    if checks.is_concrete(inside) and not checks.holds(jnp.all, inside):
        raise ValueError(
            f"time must be where {type(parametrisation).__name__} has some signal and no negative "
            f"noise (below 1, but for exploding variance); got {time}"
        )
    return jnp.where(inside, alpha, jnp.nan), sigma


def _targets(x, clean, alpha, sigma):
    noise = (x - alpha * clean) / sigma
    return {
        "clean": clean,
        "noise": noise,
        "velocity": alpha * noise - sigma * clean,
        "flow": noise - clean,
    }
