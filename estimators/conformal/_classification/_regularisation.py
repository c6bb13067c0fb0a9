"""The penalty of adaptive scores that gives the smallest sets."""

import functools
from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Stored, checks
from estimators.conformal._classification._adaptive import RAPS, SAPS
from estimators.conformal._classification._probabilities import as_labels, as_table
from estimators.conformal._classification._score import by_blocks, scores_of_labels
from estimators.conformal._quantile import as_fraction, conformal_quantile

PENALTIES = (0.001, 0.01, 0.03, 0.1, 0.2, 0.5)
FREE = (0, 1, 2, 5, 10)


class ChosenRegularisation(Stored):
    """What `choose_regularisation` found.

    Attributes:
        score: the score of the smallest mean set.
        penalties: `(cells,)`, all that were tried.
        free: `(cells,)`, the ranks without a penalty, 1 for SAPS.
        sizes: `(cells,)`, labels in a set on average; NaN for rows that are no probabilities.
    """

    score: RAPS | SAPS
    penalties: Float[Array, " cells"]
    free: Int[Array, " cells"]
    sizes: Float[Array, " cells"]


def choose_regularisation(
    probabilities: Real[ArrayLike, "n K"],
    labels: Int[ArrayLike, " n"],
    *,
    score: Literal["raps", "saps"] = "raps",
    coverage: float | Fraction = 0.9,
    penalties: Real[ArrayLike, " penalties"] | None = None,
    free: Int[ArrayLike, " free"] | None = None,
    key: Key[Array, ""] | None = None,
) -> ChosenRegularisation:
    """The penalty, and the ranks free of it, with the smallest sets on rows of their own.

    Every pair is calibrated on these rows, and the sets on the same rows are counted. The rows
    must not calibrate again: a score that was chosen by them is not exchangeable with new ones.

    Args:
        probabilities: `(n, K)`, predicted for rows that the model has not seen, and that will
            not calibrate.
        labels: `(n,)`, their classes, 0 to K - 1.
        score: "raps" or "saps".
        coverage: in (0, 1), that of the sets to come.
        penalties: not negative; None for some from 0.001 to 0.5.
        free: for "raps", ranks without a penalty; None for 0, 1, 2, 5 and 10.
        key: for randomised scores.

    Returns:
        The score, to be calibrated, and the table that it was chosen from.

    Raises:
        ValueError: for rows that are no probabilities, labels that are no columns, or a grid
            that is empty or negative.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> key = jax.random.key(0)
        >>> logits = 3 * jax.random.normal(key, (200, 20))
        >>> labels = jax.random.categorical(key, logits)
        >>> chosen = conformal.choose_regularisation(jax.nn.softmax(logits), labels)
        >>> bool(chosen.sizes.min() <= chosen.sizes[0])
        True

    Reference: Angelopoulos, Bates, Jordan & Malik 2021, Uncertainty sets for image classifiers
    using conformal prediction, section 3.2.

    When it fails: the smallest sets on average are often nearly of one size. Where sets should
    be larger for hard rows, a smaller penalty is better.
    """
    rows = as_table("probabilities", probabilities)
    labels = as_labels("labels", labels, rows.shape[:1], rows.shape[1])
    checks.one_of("score", score, ("raps", "saps"))
    checks.probability("coverage", coverage)
    if free is not None and score == "saps":
        raise ValueError("free is not used: score='saps' has none")
    tried = jnp.asarray(PENALTIES) if penalties is None else penalties
    grid = checks.positive("penalties", checks.as_vector("penalties", tried), zero=True)
    ranks = _as_ranks(free, score)
    pairs = jnp.meshgrid(grid.astype(rows.dtype), ranks, indexing="ij")
    penalty, rank = (axis.reshape(-1) for axis in pairs)
    randomised = key is not None
    of_calibration, of_sets = (None, None) if key is None else jax.random.split(checks.as_key(key))
    make = functools.partial(_make, score, randomised)
    template = make(penalty[0], rank[0])
    draws = [template.draws(rows.shape[:1], one, rows.dtype) for one in (of_calibration, of_sets)]
    sizes = _mean_sizes(
        rows, labels, draws, penalty, rank, score, randomised, as_fraction(coverage)
    )
    best = jnp.argmin(sizes)
    return ChosenRegularisation(make(penalty[best], rank[best]), penalty, rank, sizes)


def _make(score: str, randomised: bool, penalty, free) -> RAPS | SAPS:
    return SAPS(penalty, randomised) if score == "saps" else RAPS(penalty, free, randomised)


def _as_ranks(free, score: str) -> Int[Array, " free"]:
    array = jnp.asarray((1,) if score == "saps" else FREE if free is None else free)
    if array.ndim != 1 or array.size == 0 or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"free must be whole numbers, shape (free,); got {free!r:.60}")
    return checks.positive("free", array.astype(jnp.int32), zero=True)


@functools.partial(jax.jit, static_argnums=(5, 6, 7))
def _mean_sizes(rows, labels, draws, penalties, free, name, randomised, coverage):
    def one(penalty, free):
        score = _make(name, randomised, penalty, free)
        scores = scores_of_labels(score, rows, labels, draws[0])
        threshold = conformal_quantile(scores, coverage)

        def count(rows, draws):
            # By all scores: where labels stand is then found once, and not for each pair.
            return jnp.sum(score.all(rows, draws) <= threshold, -1)

        mean = jnp.mean(by_blocks(count, rows, draws[1]).astype(rows.dtype))
        return jnp.where(jnp.isnan(threshold), jnp.nan, mean)

    return jax.vmap(one)(penalties, free)
