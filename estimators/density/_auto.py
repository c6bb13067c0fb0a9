"""`KDE("auto")`: try forms of the estimate, keep the one with the best held-out likelihood.

A form says how the kernel is shaped, how the centres move, and whether widths vary. Each is
fitted without a part of the rows and judged on that part; the winner is fitted to all of them.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from estimators._core import unscale
from estimators.density import _learn, _widths
from estimators.density._debias import debias
from estimators.density._fit import Form, assemble
from estimators.density._fitted import FittedKDE
from estimators.density._kernels import Gaussian
from estimators.density._labels import row_labels
from estimators.density._scales import mix_scales
from estimators.density._selection import Selection
from estimators.density._standardise import SHAPES, shape_factor, standardise

MOST_FOLDS = 4
# More held-out rows than this do not change the choice: their likelihood is then known to some
# hundredths of a nat, and differences between forms, taken row by row, better.
HELD_OUT = 2048


class Candidate(NamedTuple):
    """One way to build the estimate.

    Attributes:
        shape: the covariance to start from, one of `SHAPES`.
        structure: index into `_learn.STRUCTURES`.
        neighbours: 0 for equal widths, else the neighbour whose distance sets the width; -1
            for the square root of the number of rows.
        moves: whether the centres move.
        then: what is done to the fitted density: "", "debiased" or "mixed".
    """

    shape: str
    structure: int
    neighbours: int = 0
    moves: bool = True
    then: str = ""

    def __str__(self):
        kernel = {
            _learn.SCALAR: f"{self.shape} kernel",
            _learn.DIAGONAL: "learned diagonal kernel",
            _learn.FULL: f"learned kernel (from {self.shape})",
        }[self.structure]
        centres = "shrunken centres" if self.moves else "plain"
        widths = {0: "", -1: ", widths by neighbour sqrt(n)"}.get(
            self.neighbours, f", widths by neighbour {self.neighbours}"
        )
        then = {"debiased": ", debiased", "mixed": ", mixture of scales"}.get(self.then, "")
        return f"{kernel}, {centres}{widths}{then}"

    def numbers(self, n: int) -> tuple:
        """The same as numbers, which one compiled program takes for all."""
        neighbours = round(n**0.5) if self.neighbours < 0 else self.neighbours
        return SHAPES.index(self.shape), self.structure, neighbours, self.moves


# The first that can be fitted is what the others are compared with.
CANDIDATES = (
    Candidate("full", _learn.SCALAR, moves=False),
    Candidate("diagonal", _learn.SCALAR, moves=False),
    Candidate("isotropic", _learn.SCALAR),
    Candidate("isotropic", _learn.SCALAR, 10),
    Candidate("isotropic", _learn.SCALAR, -1),
    Candidate("full", _learn.SCALAR),
    Candidate("full", _learn.SCALAR, 10),
    Candidate("full", _learn.SCALAR, -1),
    Candidate("diagonal", _learn.DIAGONAL),
    Candidate("diagonal", _learn.DIAGONAL, -1),
    Candidate("isotropic", _learn.FULL),
    Candidate("isotropic", _learn.FULL, -1),
    Candidate("full", _learn.FULL),
    Candidate("isotropic", _learn.SCALAR, moves=False, then="debiased"),
    Candidate("full", _learn.SCALAR, moves=False, then="debiased"),
)
# In one dimension all shapes and structures are the same.
ONE_DIMENSION = tuple(c for c in CANDIDATES if (c.shape, c.structure) == ("full", _learn.SCALAR))


def fit_auto(points, weights) -> FittedKDE:
    """Choose a form on held-out rows and fit it to all; outside jit, since arrays depend on it."""
    weights = weights / jnp.sum(weights)
    selection, chosen, steps = _select(points, jnp.log(weights))
    fitted = _fit_candidate(chosen, points, weights, steps)
    return eqx.tree_at(
        lambda f: f.info.selection, fitted, selection, is_leaf=lambda leaf: leaf is None
    )


def _select(points, log_weights) -> tuple[Selection, Candidate, int]:
    """Judge every candidate on held-out rows, and the best once more as a mixture of scales.

    Returns:
        The record; the candidate chosen; and after how many steps of its search the held-out
        likelihood was highest, on average over the folds.
    """
    n, d = points.shape
    size = max(1, min(n // MOST_FOLDS, HELD_OUT))
    folds = min(MOST_FOLDS, HELD_OUT // size)
    labels = row_labels(points)
    # Labels are hashes of the rows: in their order the rows are shuffled, with copies together.
    # Of float32, so that both precisions choose on the same folds.
    order = jnp.argsort(row_labels(points.astype(jnp.float32)))
    rows = points[order], log_weights[order], labels[order]
    weights = np.exp(np.asarray(rows[1], float))[: size * folds]
    weights = weights / weights.sum()

    def judge(candidate, steps):
        judged = [_judge(candidate, rows, fold * size, size, steps) for fold in range(folds)]
        each = np.concatenate([np.asarray(held_out, float) for held_out, _ in judged])
        return each, round(np.mean([taken for _, taken in judged]))

    candidates = list(ONE_DIMENSION if d == 1 else CANDIDATES)
    judged = [judge(candidate, _learn.STEPS) for candidate in candidates]
    best = int(np.argmax([_mean(each, weights) for each, _ in judged]))
    candidates.append(candidates[best]._replace(then="mixed"))
    judged.append(judge(candidates[-1], judged[best][1]))
    each = np.stack([each for each, _ in judged])
    held_out = np.array([_mean(row, weights) for row in each])
    failed = np.isneginf(held_out)
    difference = np.where(failed[:, None], 0, each) - each[int(np.argmin(failed))]
    gain = difference @ weights
    error = np.sqrt(((difference - gain[:, None]) ** 2) @ weights**2)
    gain, error = np.where(failed, -np.inf, gain), np.where(failed, np.nan, error)
    chosen = int(np.argmax(held_out))
    record = (held_out, gain, error, chosen, size * folds)
    selection = Selection(tuple(map(str, candidates)), *map(jnp.asarray, record))
    return selection, candidates[chosen], judged[chosen][1]


def _mean(each, weights) -> float:
    """Mean held-out log density; -inf for a form that could not be fitted."""
    return float(weights @ each) if np.isfinite(each).all() else -np.inf


def _judge(candidate: Candidate, rows, first: int, size: int, steps: int):
    """Fit without `size` rows from `first` on; the log densities of these, and the steps."""
    if not candidate.then:
        return _search_and_judge(*rows, first, *candidate.numbers(rows[0].shape[0] - size), size)
    points, log_weights, _ = (jnp.roll(a, -first, axis=0) for a in rows)
    weights = jnp.exp(log_weights[size:])
    fitted = _fit_candidate(candidate, points[size:], weights / jnp.sum(weights), steps)
    return fitted.log_density(points[:size]), steps


def _fit_candidate(candidate: Candidate, points, weights, steps: int) -> FittedKDE:
    numbers = candidate.numbers(points.shape[0])
    fitted = _fit(points, weights, row_labels(points), *numbers, steps)
    if not candidate.neighbours:
        fitted = eqx.tree_at(lambda f: f.widths, fitted, None)
    if not candidate.moves:
        fitted = eqx.tree_at(lambda f: f.rows, fitted, None)
    return {"": lambda f: f, "debiased": debias, "mixed": mix_scales}[candidate.then](fitted)


@functools.partial(jax.jit, static_argnums=8)
def _search_and_judge(
    values, log_weights, labels, first, shape, structure, neighbours, moves, size
):
    """`_judge` as one compiled program; the search ends where the held-out likelihood does."""
    values, log_weights, labels = (
        jnp.roll(a, -first, axis=0) for a in (values, log_weights, labels)
    )
    kept = log_weights[size:] - jax.nn.logsumexp(log_weights[size:])
    standard = standardise(values[size:], jnp.exp(kept))
    asked = (values[:size] - standard.location[None]) / standard.scale[None]
    share = log_weights[:size] - jax.nn.logsumexp(log_weights[:size])
    _, learned = _search(
        standard,
        kept,
        labels[size:],
        shape,
        structure,
        neighbours,
        moves,
        held_out=_learn.Rows(asked, share, labels[:size]),
    )
    return learned.held_out - jnp.sum(jnp.log(standard.scale)), learned.steps


@jax.jit
def _fit(points, weights, labels, shape, structure, neighbours, moves, steps) -> FittedKDE:
    standard = standardise(points, weights)
    widths, learned = _search(
        standard, jnp.log(weights), labels, shape, structure, neighbours, moves, steps=steps
    )
    _, factor, _ = shape_factor(standard, shape)
    size = jnp.exp(
        jnp.mean(jnp.log(jnp.diagonal(learned.kernels.factor)) - jnp.log(jnp.diagonal(factor)))
    )
    form = Form(
        learned.kernels,
        True,
        widths,
        Gaussian(),
        size,
        learned.log_likelihood,
        learned.steps,
    )
    return assemble(points, weights, standard, form)


def _search(standard, log_weights, labels, shape, structure, neighbours, moves, **options):
    """Learn the kernels of a candidate; its widths, and what was learned."""
    covariance, factor, definite = shape_factor(standard, shape)
    factor = jnp.where(definite, factor, jnp.nan)  # else rounding passes for a direction
    white = unscale(standard.values, factor)
    widths = jax.lax.cond(
        neighbours > 0,
        lambda: _widths.nearest(white, log_weights, labels, neighbours),
        lambda: jnp.ones_like(log_weights),
    )
    rows = _learn.Rows(standard.values, log_weights, labels, widths)
    return widths, _learn.search(rows, covariance, factor, structure, moves, **options)
