"""What every full conformal fit offers: intervals and p-values of new rows, in blocks."""

import abc
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, checks
from estimators._core._blocks import map_blocks
from estimators.conformal._full._neighbours import BLOCK_ENTRIES
from estimators.conformal._full._sets import Reaches, hull, p_value
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite


class FullConformal(Fitted):
    """Training rows, and what links their residuals to the response of a test row.

    Attributes:
        coverage: coverage asked for.
        training: number of training rows.
        dimension: number of features.
    """

    coverage: float = eqx.field(static=True)
    training: int = eqx.field(static=True)
    dimension: int = eqx.field(static=True)

    @abc.abstractmethod
    def reaches(self, features: Float[Array, "b d"]) -> Reaches:
        """Where each training row fits no better than each test row, by the test row's y."""

    @property
    def needed(self) -> int:
        """How many training rows must fit no better than the test row, for y to be kept.

        p > 1 - coverage is (n + 1) - (1 + count) < (n + 1) coverage; in whole numbers,
        n - count <= k - 1, with k the conformal rank.
        """
        return self.training - conformal_rank(self.training, self.coverage) + 1

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite for want of rows, or None where they are not."""
        return why_infinite(self.training, self.coverage)

    @property
    def guarantee(self) -> Guarantee:
        """What the set of y with a p-value above `1 - coverage` promises."""
        share = conformal_rank(self.training, self.coverage) / (self.training + 1)
        hull = "hull" in self._given()
        return Guarantee(
            coverage=self.coverage,
            at_least=share,
            at_most=None if hull else share,
            kind="at least" if hull else "exact",
            over="training rows and test row together",
            given=self._given(),
        )

    @abc.abstractmethod
    def _given(self) -> str:
        """What the guarantee rests on."""

    def interval(
        self, features: Real[ArrayLike, "*batch d"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """The least and the largest y with a p-value above `1 - coverage`, each `(*batch,)`.

        Args:
            features: test rows, in the units of the fit.

        Returns:
            Ends in the unit of y, which belong to the set; infinite where it is not bounded.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`;
                inside it they give NaN.
        """
        return _interval(self, checks.as_queries("features", features, self.dimension))

    def p_value(
        self, features: Real[ArrayLike, "*batch d"], y: Real[ArrayLike, "*batch"]
    ) -> Float[Array, "*batch"]:
        """`(1 + #{i : score_i >= score of the test row}) / (n + 1)` at given responses.

        In floating point 1 - 0.9 is less than 1/10, and a p-value may equal the latter: whether
        a response is kept is for `interval` to say.

        Args:
            features: test rows, in the units of the fit.
            y: `(*batch,)`, a candidate response of each.

        Raises:
            ValueError: as `interval`; also for a `y` of another shape than the rows.
        """
        features = checks.as_queries("features", features, self.dimension)
        y = checks.finite("y", checks.as_float("y", y))
        if y.shape != features.shape[:-1]:
            raise ValueError(
                f"y must have shape {features.shape[:-1]}, one for each row; got {y.shape}"
            )
        return _p_value(self, features, y)


@jax.jit
def _interval(fitted, features):
    return of_rows(fitted, functools.partial(hull, needed=fitted.needed), features)


@jax.jit
def _p_value(fitted, features, y):
    dtype = jnp.result_type(features, y)
    return of_rows(fitted, p_value, features.astype(dtype), y.astype(dtype))


def of_rows(fitted: FullConformal, function, features, *of_row):
    """Apply `function` to the reaches of test rows, and to what each row has besides."""

    def of_block(block):
        return function(fitted.reaches(block[0]), *block[1:])

    batch = features.shape[:-1]
    flat = (features.reshape(-1, fitted.dimension), *(a.reshape(-1) for a in of_row))
    found = map_blocks(of_block, flat, max(1, BLOCK_ENTRIES // fitted.training))
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), found)
