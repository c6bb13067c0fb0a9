"""`KDE("auto")`: try forms of the estimate, keep the one with the best held-out likelihood.

A form says how the kernel is shaped, how the centres move, and whether widths vary. Each is
fitted without a part of the rows and judged on that part; the winner is fitted to all of them.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from estimators._core import normalised
from estimators.density._fitted import FittedKDE
from estimators.density._forms import _learn
from estimators.density._forms._candidates import Candidate, Fits
from estimators.density._forms._selection import Selection
from estimators.density._labels import row_labels

MOST_FOLDS = 4
# More held-out rows than this do not change the choice: their likelihood is then known to some
# hundredths of a nat, and differences between forms, taken row by row, better.
HELD_OUT = 2048


# The first that can be fitted is what the others are compared with.
PLAIN = tuple(Candidate(shape, _learn.SCALAR, moves=False) for shape in ("full", "diagonal"))
SHRUNKEN = (
    Candidate("isotropic", _learn.SCALAR),
    Candidate("full", _learn.SCALAR),
    Candidate("diagonal", _learn.DIAGONAL),
    Candidate("isotropic", _learn.FULL),
    Candidate("full", _learn.FULL),
)
DEBIASED = tuple(
    Candidate(shape, _learn.SCALAR, moves=False, then="debiased") for shape in ("isotropic", "full")
)
NEIGHBOURS = (10, -1)


def fit_auto(points, weights) -> FittedKDE:
    """Choose a form on held-out rows and fit it to all; outside jit, since arrays depend on it."""
    weights = normalised(weights)
    selection, chosen, steps = _select(points, jnp.log(weights))
    fitted = Fits(points, jnp.log(weights)).fitted(chosen, steps)
    return eqx.tree_at(
        lambda f: f.info.selection, fitted, selection, is_leaf=lambda leaf: leaf is None
    )


def _select(points, log_weights) -> tuple[Selection, Candidate, int]:
    """Judge the candidates on held-out rows, stage by stage.

    First shapes and centres; then widths for the best of them; then the best of all as a mixture
    of scales.

    Returns:
        The record; the candidate chosen; and after how many steps of its search the held-out
        likelihood was highest, on average over the folds.
    """
    n, d = points.shape
    size = max(1, min(n // MOST_FOLDS, HELD_OUT))
    folds = min(MOST_FOLDS, HELD_OUT // size)
    # Labels are hashes of the rows: in their order the rows are shuffled, with copies together.
    # Of float32, so that both precisions choose on the same folds.
    order = jnp.argsort(row_labels(points.astype(jnp.float32)))
    points, log_weights = points[order], log_weights[order]
    weights = np.exp(np.asarray(log_weights, float))[: size * folds]
    weights = weights / weights.sum()
    fits = []
    for fold in range(folds):
        x, log_w = (jnp.roll(a, -fold * size, axis=0) for a in (points, log_weights))
        fits.append(Fits(x[size:], log_w[size:], (x[:size], log_w[:size])))
    judged: dict[Candidate, tuple[np.ndarray, int]] = {}

    def try_all(candidates):
        for candidate in candidates:
            results = [fit.judge(candidate) for fit in fits]
            each = np.concatenate([np.asarray(held_out, float) for held_out, _ in results])
            judged[candidate] = each, round(np.mean([steps for _, steps in results]))

    def best(among):
        return max(among, key=lambda candidate: _mean(judged[candidate][0], weights))

    # In one dimension all shapes and structures are the same.
    first = (*PLAIN[:1], SHRUNKEN[1], DEBIASED[1]) if d == 1 else (*PLAIN, *SHRUNKEN, *DEBIASED)
    try_all(first)
    widened = [best(c for c in judged if c.moves), best(c for c in judged if _is_scalar(c))]
    try_all(c._replace(neighbours=k) for c in dict.fromkeys(widened) for k in NEIGHBOURS)
    try_all([best(judged)._replace(then="mixed")])
    chosen = best(judged)
    return _record(judged, chosen, weights), chosen, judged[chosen][1]


def _is_scalar(candidate: Candidate) -> bool:
    return candidate.moves and candidate.structure == _learn.SCALAR


def _mean(each, weights) -> float:
    """Mean held-out log density; -inf for a form that could not be fitted."""
    return float(weights @ each) if np.isfinite(each).all() else -np.inf


def _record(judged, chosen, weights) -> Selection:
    each = np.stack([each for each, _ in judged.values()])
    held_out = np.array([_mean(row, weights) for row in each])
    failed = np.isneginf(held_out)
    difference = np.where(failed[:, None], 0, each - each[int(np.argmin(failed))])
    gain = difference @ weights
    error = np.sqrt(((difference - gain[:, None]) ** 2) @ weights**2)
    numbers = (
        held_out,
        np.where(failed, -np.inf, gain),
        np.where(failed, np.nan, error),
        list(judged).index(chosen),
        each.shape[1],
    )
    return Selection(tuple(map(str, judged)), *map(jnp.asarray, numbers))
