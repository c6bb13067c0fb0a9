"""Adaptive scores: the probability that is collected, best label first, until the label comes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from estimators._core import checks
from estimators.conformal._classification._ranked import RankedScore


class APS(RankedScore):
    """Adaptive prediction sets: the probability of all labels at least as probable.

        s = sum_k p_k 1{p_k >= p_y}

    and with `randomised=True`, for one uniform u a row,

        s = sum_k p_k 1{p_k > p_y} + u sum_k p_k 1{p_k = p_y}.

    Equally probable labels have one score, and enter a set together. Where the probabilities are
    right the sets cover given the features, and not only on average.

    Args:
        randomised: whether to draw. The coverage is then exact and sets are smaller, but two
            runs with two keys differ, and a set can be empty.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.25, 0.25]])
        >>> print(conformal.APS().of_all(probabilities))
        [[0.5 1.  1. ]]

    Reference: Romano, Sesia & Candes 2020, Classification with valid and adaptive coverage,
    section 2.

    When it fails: with many classes the probabilities of the unlikely ones are noise, and hard
    rows collect dozens of them: see `RAPS` and `SAPS`. Without draws the last label's whole
    probability is counted, and sets are larger than they need be where few labels are likely.
    """

    randomised: bool = eqx.field(static=True, default=False)

    def value(self, at, draws):
        """See `RankedScore`."""
        return _between(at.above, at.reached, draws)


class RAPS(RankedScore):
    """Regularised adaptive prediction sets: `APS` and a penalty on the label's rank.

        s = APS + penalty max(rank - free, 0)

    with ranks from 1, equally probable labels on the last of theirs.

    Args:
        penalty: for each rank, not negative. It may be traced.
        free: ranks without a penalty.
        randomised: see `APS`; the penalty is not drawn.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.375, 0.125]])
        >>> print(conformal.RAPS(penalty=0.5, free=1).of_all(probabilities))
        [[0.5   1.375 2.   ]]

    Reference: Angelopoulos, Bates, Jordan & Malik 2021, Uncertainty sets for image classifiers
    using conformal prediction.

    When it fails: a large penalty gives all rows sets of one size. `choose_regularisation` finds
    one on rows of its own.
    """

    penalty: float | Float[ArrayLike, ""] = 0.01
    free: int | Int[ArrayLike, ""] = 5
    randomised: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        checks.positive("penalty", self.penalty, zero=True)
        if isinstance(self.free, int | float | np.number):
            checks.integer("free", self.free, at_least=0)

    def value(self, at, draws):
        """See `RankedScore`."""
        beyond = jnp.maximum(at.place - jnp.asarray(self.free, at.place.dtype), 0)
        return _between(at.above, at.reached, draws) + _penalty(self.penalty, beyond)


class SAPS(RankedScore):
    """Sorted adaptive prediction sets: of the probabilities only the largest counts.

        s = p_max + penalty (rank - 1)

    and with `randomised=True` u p_max for the most probable label, and for the others
    p_max + penalty (rank - 2 + u), for one uniform u a row.

    Args:
        penalty: for each rank, not negative. It may be traced.
        randomised: see `APS`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.375, 0.125]])
        >>> print(conformal.SAPS(penalty=0.25).of_all(probabilities))
        [[0.5  0.75 1.  ]]

    Reference: Huang, Xi, Zhang, Yao, Qiu & Wei 2024, Conformal prediction for deep classifier
    via label ranking.

    When it fails: as `RAPS`.
    """

    penalty: float | Float[ArrayLike, ""] = 0.1
    randomised: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        checks.positive("penalty", self.penalty, zero=True)

    def value(self, at, draws):
        """See `RankedScore`."""

        def reached(labels):
            more = at.largest + _penalty(self.penalty, labels - 1)
            return jnp.where(labels == 0, 0, more)

        return _between(reached(at.ahead), reached(at.place), draws)


def _between(before, upto, draws) -> Float[Array, "..."]:
    """A share of the way, never more than all of it: labels of less probability come after."""
    if draws is None:
        return upto
    return jnp.minimum(before + _product(draws, upto - before), upto)


def _penalty(penalty, ranks) -> Float[Array, "..."]:
    penalty = jnp.asarray(penalty, ranks.dtype)
    return _product(jnp.where(penalty >= 0, penalty, jnp.nan), ranks)


def _product(a, b):
    """A product, rounded so that no compiler can fuse it with the sum that it goes into.

    It would then be rounded once in one program and twice in another, and a calibration row
    on the threshold could fall out of its own set.
    """
    product = a * b
    bits = jnp.finfo(product.dtype)
    return jax.lax.reduce_precision(product, int(bits.nexp), int(bits.nmant) - 1)
