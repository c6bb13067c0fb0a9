"""A mixture of Gaussians, fitted by expectation-maximisation, and its score at any noise."""

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Spec, Stored, checks
from estimators.score._models import _components
from estimators.score._models._components import Components
from estimators.score._models._expectation_maximisation import (
    DEGENERATE,
    Progress,
    maximise,
    maximise_over_mesh,
)
from estimators.score._models._model import as_noised
from estimators.score._models._with_components import ComponentModel, by_rows
from estimators.sharding import Rows


class MixtureInfo(Stored):
    """Diagnostics of a fit.

    Attributes:
        log_likelihood: mean log density of the rows in the last expectation step, nats.
        steps: how many rounds of expectation-maximisation were made.
        status: 0 ok; 1 the points were not finite, or an option out of its range (every result
            is NaN); 2 the rounds ended before the gain fell below the tolerance (the fit is
            usable); 3 a component lost all its variance (every result is NaN).
    """

    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class FittedMixture(ComponentModel):
    """A mixture of Gaussians, each of low rank plus an isotropic floor; see `Mixture`.

    Attributes:
        log_weights: `(K,)`, logs of weights that sum to one.
        means: `(K, d)`.
        basis: `(K, d, r)`, orthonormal columns.
        eigenvalues: `(K, r)`, the variances of those modes.
        floor: `(K,)`, variance of every direction outside the basis; unused where r = d.
        info: diagnostics, see `MixtureInfo`.
    """

    log_weights: Float[Array, " K"]
    means: Float[Array, "K d"]
    basis: Float[Array, "K d r"]
    eigenvalues: Float[Array, "K r"]
    floor: Float[Array, " K"]
    info: MixtureInfo

    @property
    def components(self) -> Components:
        """The Gaussians that make up the law."""
        return Components(self.log_weights, self.means, self.basis, self.eigenvalues, self.floor)

    def log_responsibilities(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."] = 0.0
    ) -> Float[Array, "*batch K"]:
        """Log probability of each component given `x` at noise `sigma`."""
        return by_rows(_log_responsibilities, self, *as_noised(self, x, sigma=sigma))


_log_responsibilities = jax.jit(_components.log_responsibilities)


class Mixture(Spec):
    """A mixture of Gaussians as a model of the score at every noise level.

    Fitted by expectation-maximisation in log space from a k-means++ start. Below the noise at
    which a single Gaussian suffices it keeps the parts apart; like it, it knows no more of
    the data than its moments, and so does not memorise.

    Args:
        components: how many Gaussians, K.
        rank: modes that each keeps beside its isotropic floor; None keeps all d (full
            covariances), 0 none (isotropic Gaussians).
        steps: rounds of expectation-maximisation at most.
        tolerance: stop once a round gains less than this in mean log density, nats.
        regularisation: added to every variance, as a share of the data's mean variance a
            column. A component with few rows would otherwise shrink onto them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (2000, 2)).at[:1000, 0].add(8.0)
        >>> fitted = score.Mixture(components=2).fit(points, key=jax.random.key(1))
        >>> print(f"{fitted.score(jnp.array([6.0, 0.0]), sigma=0.5)[0]:.1f}")  # of the law: 1.6
        1.7

    Reference: McLachlan & Peel, *Finite Mixture Models* (2000), ch. 3; Tipping & Bishop,
    Mixtures of probabilistic principal component analysers (1999).

    When it fails: the likelihood has many maxima, and one start finds one of them; compare
    the `info.log_likelihood` of several keys on held-out rows. Components that hold fewer
    rows than they have directions describe those rows: keep a rank, or regularise.
    """

    components: int = eqx.field(static=True)
    rank: int | None = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    tolerance: Float[Array, ""]
    regularisation: Float[Array, ""]

    def __init__(
        self,
        components: int,
        rank: int | None = None,
        *,
        steps: int = 200,
        tolerance: Real[ArrayLike, ""] = 1e-4,
        regularisation: Real[ArrayLike, ""] = 1e-4,
    ):
        self.components = checks.integer("components", components, at_least=1)
        self.rank = None if rank is None else checks.integer("rank", rank, at_least=0)
        self.steps = checks.integer("steps", steps, at_least=1)
        self.tolerance = checks.positive("tolerance", checks.as_number("tolerance", tolerance))
        self.regularisation = checks.positive(
            "regularisation", checks.as_number("regularisation", regularisation), zero=True
        )

    def fit(self, points: Real[ArrayLike, "n d"] | Rows, *, key: Key[Array, ""]) -> FittedMixture:
        """Fit the mixture to `points`, one row a sample; `sharding.Rows` stay on their devices.

        Raises:
            ValueError: for shapes that do not fit, fewer than two rows a component, a rank
                above the columns, or values that are not finite. Inside jit such values give
                NaN.
        """
        rows = points if isinstance(points, Rows) else None
        array = checks.as_points("points", points if rows is None else rows.values, at_least=2)
        n, d = array.shape if rows is None else rows.shape
        if n < 2 * self.components:
            raise ValueError(
                f"points must have at least 2 rows a component, {2 * self.components} for "
                f"{self.components} components; got {n}"
            )
        rank = d if self.rank is None else self.rank
        if rank > d:
            raise ValueError(f"rank must be at most the {d} columns of points; got {rank}")
        if self.rank is not None and rank > n - 1:
            raise ValueError(
                f"rank must be at most {n - 1}: {n} rows span no more directions; got {rank}"
            )
        progress = Progress(self.steps, self.tolerance, self.regularisation)
        settings = checks.as_key(key), self.components, rank, progress
        found, likelihood, steps, status = (
            maximise(array, *settings)
            if rows is None
            else maximise_over_mesh(Rows(array, rows.placement), *settings)
        )
        if checks.is_concrete(status) and int(status) == DEGENERATE:
            raise ValueError(
                "points must give every component some variance; one has none (copies of a row, "
                "or a constant column): set regularisation above "
                f"{float(self.regularisation):g}, or fewer components than {self.components}"
            )
        info = MixtureInfo(likelihood, steps, status)
        return FittedMixture(**found._asdict(), info=info)
