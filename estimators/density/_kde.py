"""Kernel density estimation: `KDE(bandwidth).fit(points) -> FittedKDE`."""

from collections.abc import Sequence
from typing import overload

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Choice, Spec, checks, constant_columns
from estimators.density import _fit, _fit_mesh
from estimators.density._blocks._fit_blocks import fit_blocks
from estimators.density._blocks._fitted_blocks import FittedBlockKDE
from estimators.density._fitted import FittedKDE
from estimators.density._forms._auto import fit_auto
from estimators.density._kernels import Epanechnikov, Gaussian, Kernel, TopHat
from estimators.sharding import Rows
from estimators.sharding._blocks import Blocks

RULES = ("scott", "silverman", "loo", "sheather-jones", "biroli-mezard", "auto")
COVARIANCES = ("full", "diagonal", "isotropic", "learned-diagonal", "learned")
CENTRES = ("rows", "shrunken")
WIDTHS = ("equal", "nearest", "abramson")


class KDE(Spec):
    """Kernel density estimation.

    The density is `sum_j w_j N(x; c_j, s_j^2 K)`. Its parts are chosen one by one, or all of
    them by held-out likelihood with `KDE("auto")`.

    The kernel's covariance K, from `bandwidth`:

    - a number h: `K = h^2 I`, h in data units; a vector `(d,)`: `K = diag(h^2)`;
    - a matrix `(d, d)`: K itself (the bandwidth matrix H of Wand & Jones 1995, sec. 4.2);
    - `"scott"`, `"silverman"`: `K = f^2 S` with S of the data (see `covariance`) and f the
      rule's factor at the effective sample size;
    - `"loo"`: the same with the f that maximises the leave-one-out likelihood (Habbema,
      Hermans & van den Broek 1974); rows equal to the one left out are left out with it;
    - `"sheather-jones"`: for one column, `improved_sheather_jones`;
    - `"biroli-mezard"`: the f of least Kullback-Leibler divergence for normal data in high
      dimension, the typical distance of the nearest point (`theory.optimal_bandwidth`);
      useless below d of about 8;
    - `"auto"`: everything, by held-out likelihood; `fitted.info.selection` is the record.

    The rules scale with the data, so that columns in different units do not matter
    ("isotropic" excepted, which is a ball in data units).

    Args:
        bandwidth: see above. A number or an array is a leaf of the pytree: vmap and grad
            go through it.
        covariance: S: "full", the whole covariance; "diagonal", the columns' variances (use it
            where columns are collinear); "isotropic", their mean times I. Or, with "loo", K
            itself is learned by expectation-maximisation of the leave-one-out likelihood:
            "learned-diagonal", one bandwidth a column; "learned", the whole matrix.
        centres: "rows", c_j = y_j; or "shrunken", `c_j = mean + A (y_j - mean)`. A kernel
            density of plain centres is wider than the data by K; shrunken centres give that
            back. With "loo", A is learned together with K: a number, or for a learned
            covariance a diagonal or a whole matrix. With the other rules it is
            `sqrt(1 - f^2)`, which keeps the data's variance (Jones 1991). Derivatives do not
            go through what is learned here: to them A and K are constants.
        widths: s_j: "equal"; "nearest", in proportion to the distance to the sqrt(n)-th
            nearest row (Breiman, Meisel & Purcell 1977); "abramson", to the density to the
            power -1/2 (Abramson 1982), harmful from d of about 16. Geometric mean one.
        kernel: the shape, `density.Gaussian()` unless given. K is its covariance, whatever it
            is. Learning, shrinking and "auto" are for the Gaussian.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> fitted = density.KDE(bandwidth="loo").fit(points)
        >>> fitted.log_density(points[:3]).shape
        (3,)
        >>> print(f"{fitted.info.factor:.1f}")  # in standard deviations of the data
        0.4
        >>> best = density.KDE("auto").fit(points)
        >>> float(best.info.selection.gain.max()) > 0  # nats a row over "loo", on rows held out
        True

    When it fails: in high dimension. A density from n points needs n to grow exponentially
    with d; `estimators.density.regime` says at each x whether many points or few carry the
    value (Biroli & Mezard 2024, arXiv 2408.05807). In float32 the log-density's error is
    about 1e-7 (R/h)^2, R the distance from the data's mean, up to 1e-2 nats, where another
    algorithm takes over; `fitted.rounding_error` is the bound. Where values repeat there is no
    density, and "auto" and "loo" speak of the rest; nor is there one where columns determine
    another, though "auto" will learn a very thin kernel there.
    """

    bandwidth: Choice | Float[Array, "..."]
    kernel: Kernel
    covariance: str = eqx.field(static=True)
    centres: str = eqx.field(static=True)
    widths: str = eqx.field(static=True)

    def __init__(
        self,
        bandwidth: str | Sequence | Real[ArrayLike, "..."] = "loo",
        *,
        covariance: str = "full",
        centres: str = "rows",
        widths: str = "equal",
        kernel: Kernel | None = None,
    ):
        self.covariance = checks.one_of("covariance", covariance, COVARIANCES)
        self.centres = checks.one_of("centres", centres, CENTRES)
        self.widths = checks.one_of("widths", widths, WIDTHS)
        self.kernel = Gaussian() if kernel is None else kernel
        if not isinstance(self.kernel, Kernel):
            raise ValueError(
                f"kernel must be a kernel such as density.Epanechnikov(); got {kernel!r}"
            )
        if isinstance(bandwidth, str):
            self.bandwidth = Choice(checks.one_of("bandwidth", bandwidth, RULES))
        else:
            self.bandwidth = _as_bandwidth(bandwidth)
        self._refuse_combinations()

    def _refuse_combinations(self):
        rule = self.bandwidth.name if isinstance(self.bandwidth, Choice) else "a number"
        gaussian = isinstance(self.kernel, Gaussian)
        options = (self.covariance, self.centres, self.widths, gaussian)
        if rule == "auto" and options != ("full", "rows", "equal", True):
            raise ValueError(
                "bandwidth 'auto' chooses covariance, centres and widths itself, for a Gaussian "
                f"kernel; got covariance={self.covariance!r}, centres={self.centres!r}, "
                f"widths={self.widths!r}, kernel={self.kernel!r}. Leave them out, or use 'loo'"
            )
        if self.covariance.startswith("learned") and rule != "loo":
            raise ValueError(
                f"covariance {self.covariance!r} must be learned by bandwidth 'loo'; got {rule!r}"
            )
        if rule == "a number" and (self.covariance, self.centres) != ("full", "rows"):
            raise ValueError(
                "covariance and centres need a rule for the bandwidth, such as 'loo'; got a number "
                f"and covariance={self.covariance!r}, centres={self.centres!r}"
            )
        if not gaussian and (self.centres == "shrunken" or self.covariance.startswith("learned")):
            raise ValueError(
                "kernel must be Gaussian() where centres are shrunken or the covariance is "
                f"learned; got {self.kernel!r}"
            )
        if rule == "loo" and isinstance(self.kernel, Epanechnikov | TopHat):
            raise ValueError(
                "kernel must reach everywhere for bandwidth 'loo', else one lone row decides; "
                f"got {self.kernel!r}. Use 'scott', a number, or another kernel"
            )

    @overload
    def fit(
        self,
        points: Real[ArrayLike, "n d"] | Rows,
        weights: Real[ArrayLike, " n"] | Rows | None = None,
    ) -> FittedKDE: ...

    @overload
    def fit(
        self, points: Blocks, weights: Real[ArrayLike, " n"] | Blocks | None = None
    ) -> FittedBlockKDE: ...

    def fit(
        self,
        points: Real[ArrayLike, "n d"] | Rows | Blocks,
        weights: Real[ArrayLike, " n"] | Rows | Blocks | None = None,
    ) -> FittedKDE | FittedBlockKDE:
        """Fit to `points`, one row a sample.

        Args:
            points: `(n, d)`, float32 or float64; n >= 2 for the rules, n >= 8 for "auto". Or
                `sharding.Rows`, for a number, a matrix, "scott", "silverman", "biroli-mezard"
                and "loo". Or `sharding.Blocks`, for the same without "loo"; what is fitted to
                them reads them anew at each call.
            weights: `(n,)`, not negative; scaled to sum to one. None means equal. With `Rows`
                they are split alike.

        Raises:
            ValueError: for shapes that do not fit, values that are not finite, a constant
                column, a singular covariance, weights that are negative or all zero.
                Inside jit these values give `info.status` and a density that is NaN;
                "auto", whose choice decides what arrays there are, is refused there.
        """
        if isinstance(points, Blocks):
            return fit_blocks(self, points, weights)
        given = None if isinstance(self.bandwidth, Choice) else self.bandwidth.shape
        rule = None if given is not None else self.bandwidth.name
        at_least = 1 if rule is None else 8 if rule == "auto" else 2
        split = isinstance(points, Rows)
        rows = points.values if split else points
        array = checks.as_points("points", rows, at_least=at_least)
        n, d = array.shape
        if given is not None and given not in ((), (d,), (d, d)):
            raise ValueError(
                f"bandwidth must have shape (), ({d},) or ({d}, {d}) for points of {d} "
                f"columns; got shape {given}"
            )
        if rule == "sheather-jones" and d > 1:
            raise ValueError(
                "bandwidth 'sheather-jones' must have points of one column; got shape "
                f"{array.shape}. For several columns use 'loo'"
            )
        if split:
            fitted = _fit_mesh.fit(self, Rows(array, points.placement), weights)
        else:
            weights = checks.as_weights("weights", weights, n, array.dtype)
            if rule == "auto":
                return _fit_auto(array, weights)
            fitted = _fit.fit(self, array, weights)
        if checks.is_concrete(fitted.info.status):
            _refuse(int(fitted.info.status), array, weights, rule)
        return fitted


def _as_bandwidth(bandwidth) -> Array:
    array = checks.as_float("bandwidth", bandwidth)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]):
        raise ValueError(
            "bandwidth must be a number, a vector (d,), a matrix (d, d) or one of "
            f"{', '.join(map(repr, RULES))}; got shape {array.shape}"
        )
    if array.ndim == 2:
        checks.finite("bandwidth", array)
        if checks.is_concrete(array) and not checks.holds(
            lambda a: jnp.allclose(a, a.T, rtol=1e-4, atol=0), array
        ):
            raise ValueError(
                f"bandwidth must be symmetric where it is a matrix; got {array.tolist()}"
            )
        return array
    return checks.positive("bandwidth", array)


def _fit_auto(points, weights) -> FittedKDE:
    if not (checks.is_concrete(points) and checks.is_concrete(weights)):
        raise ValueError(
            "bandwidth 'auto' must be fitted outside jit, vmap and grad: what it chooses decides "
            "which arrays the fitted density holds. The fitted density works inside; so do the "
            "rules, 'loo' among them"
        )
    if bool(jnp.any(constant_columns(points, weights=weights))):
        _refuse(_fit.CONSTANT_COLUMN, points, weights, "auto")
    distinct = len(np.unique(np.asarray(points)[np.asarray(weights) > 0], axis=0))
    if distinct < 8:
        raise ValueError(
            "points must have at least 8 distinct rows with weight for bandwidth 'auto'; got "
            f"{distinct} (shape {points.shape})"
        )
    fitted = fit_auto(points, weights)
    selection = fitted.info.selection
    if selection is None or not bool(jnp.any(jnp.isfinite(selection.held_out))):
        _refuse(_fit.NO_BANDWIDTH, points, weights, "auto")
    return fitted


def _refuse(status: int, points, weights, rule: str | None) -> None:
    if status == _fit.CONSTANT_COLUMN:
        weights = weights.values if isinstance(weights, Rows) else weights
        column = int(jnp.argmax(constant_columns(points, weights=weights)))
        row, where = 0, "in all rows"
        if weights is not None:
            row = int(jnp.argmax(weights > 0))
            where += "" if bool(jnp.all(weights > 0)) else " with weight"
        raise ValueError(
            f"points must vary in every column; column {column} is {float(points[row, column])} "
            f"{where}, and its density is infinite there"
        )
    if status == _fit.SINGULAR and rule is None:
        raise ValueError("bandwidth must be positive definite where it is a matrix; it is not")
    if status == _fit.SINGULAR:
        raise ValueError(
            "points must have a covariance that is positive definite; theirs is singular: columns "
            "are linearly dependent, or rows with weight are fewer than columns (points has "
            f"shape {points.shape}). Drop columns, or write KDE(covariance='diagonal')"
        )
    if status == _fit.TOO_NARROW:
        raise ValueError(
            f"bandwidth must be above the rounding of {points.dtype} coordinates, about "
            f"{float(jnp.finfo(points.dtype).eps):.0e} of the data's radius; got one below it"
        )
    if status == _fit.NO_BANDWIDTH:
        raise ValueError(
            f"bandwidth {rule!r} found no bandwidth: the criterion has no optimum on these points "
            "(too few distinct rows?). Give a number, or 'scott'"
        )
    if status != _fit.OK:
        raise ValueError("points and weights must be finite")
