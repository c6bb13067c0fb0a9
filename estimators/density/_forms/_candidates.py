"""Candidates of an automatic choice, and their fits to one set of rows, each step done once."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from estimators._core import unscale
from estimators.density._fit import Form, assemble, relative_size
from estimators.density._fitted import FittedKDE
from estimators.density._forms import _learn, _widths
from estimators.density._forms._debias import debias
from estimators.density._forms._scales import mix_scales
from estimators.density._kernels import Gaussian
from estimators.density._labels import row_labels
from estimators.density._standardise import SHAPES, Standardised, shape_factor, standardise


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


class Prepared(NamedTuple):
    """Standardised rows with a shape and widths.

    Attributes:
        standard: the rows.
        rows: the same for `_learn`.
        shape: the covariance to start from, in standardised units.
        factor: its Cholesky factor; NaN where it is singular.
    """

    standard: Standardised
    rows: _learn.Rows
    shape: jax.Array
    factor: jax.Array


class Fits:
    """Fits of candidates to one set of rows.

    Args:
        points: the rows.
        log_weights: their log weights, of any sum.
        held_out: rows that were held out, and their log weights.
    """

    def __init__(self, points, log_weights, held_out: tuple = ()):
        self.points = points
        self.log_weights = log_weights - jax.nn.logsumexp(log_weights)
        self.labels = row_labels(points)
        self.held_out = held_out
        self._prepared: dict = {}
        self._learned: dict = {}

    def judge(self, candidate: Candidate):
        """Log densities of the rows held out, and after how many steps they were highest."""
        learned = self.learned(candidate)
        if candidate.then:
            x, _ = self.held_out
            return self.fitted(candidate, learned.steps).log_density(x), int(learned.steps)
        standard = self.prepared(candidate).standard
        return learned.held_out - jnp.sum(jnp.log(standard.scale)), int(learned.steps)

    def fitted(self, candidate: Candidate, steps) -> FittedKDE:
        """The density of a candidate whose search ends after so many steps."""
        prepared, learned = self.prepared(candidate), self.learned(candidate, steps)
        fitted = _assembled(self.points, self.log_weights, prepared, learned, candidate.moves)
        if not candidate.neighbours:
            fitted = eqx.tree_at(lambda f: f.widths, fitted, None)
        return {"": lambda f: f, "debiased": debias, "mixed": mix_scales}[candidate.then](fitted)

    def prepared(self, candidate: Candidate) -> Prepared:
        """The rows with the candidate's shape and widths."""
        key = candidate.shape, candidate.neighbours
        if key not in self._prepared:
            n = self.points.shape[0]
            neighbours = round(n**0.5) if candidate.neighbours < 0 else candidate.neighbours
            self._prepared[key] = _prepare(
                self.points,
                self.log_weights,
                self.labels,
                SHAPES.index(candidate.shape),
                neighbours,
            )
        return self._prepared[key]

    def learned(self, candidate: Candidate, steps=_learn.STEPS) -> _learn.Learned:
        """The search of a candidate, from where that of two parameters ended."""
        key = *candidate._replace(then=""), int(steps)
        if key not in self._learned:
            prepared = self.prepared(candidate)
            if candidate.structure == _learn.SCALAR:
                kernels = _learn.start(prepared.rows, prepared.factor, candidate.moves)
            else:
                kernels = self.learned(candidate._replace(structure=_learn.SCALAR)).kernels
            held_out = None
            if self.held_out:
                held_out = _as_rows(prepared.standard, *self.held_out)
            scalar = candidate.structure == _learn.SCALAR
            self._learned[key] = _search(
                prepared,
                kernels,
                # Arrays, so that one compiled program serves all candidates.
                jnp.asarray(candidate.structure),
                jnp.asarray(candidate.moves),
                jnp.asarray(steps),
                held_out,
                _learn.FEW_QUERIES if scalar else _learn.QUERIES,
            )
        return self._learned[key]


@jax.jit
def _prepare(points, log_weights, labels, shape, neighbours) -> Prepared:
    standard = standardise(points, jnp.exp(log_weights))
    covariance, factor, definite = shape_factor(standard, shape)
    factor = jnp.where(definite, factor, jnp.nan)  # else rounding passes for a direction
    white = unscale(standard.values, factor)
    widths = jax.lax.cond(
        neighbours > 0,
        lambda: _widths.nearest(white, log_weights, labels, neighbours),
        lambda: jnp.ones_like(log_weights),
    )
    rows = _learn.Rows(standard.values, log_weights, labels, widths)
    return Prepared(standard, rows, covariance, factor)


@jax.jit
def _as_rows(standard, x, log_weights) -> _learn.Rows:
    values = (x - standard.location[None]) / standard.scale[None]
    return _learn.Rows(values, log_weights - jax.nn.logsumexp(log_weights), row_labels(x))


@functools.partial(jax.jit, static_argnums=6)
def _search(prepared, kernels, structure, moves, steps, held_out, queries) -> _learn.Learned:
    return _learn.learn(
        prepared.rows,
        prepared.shape,
        kernels,
        structure,
        moves,
        queries=queries,
        steps=steps,
        held_out=held_out,
    )


@functools.partial(jax.jit, static_argnums=4)
def _assembled(points, log_weights, prepared, learned, moves) -> FittedKDE:
    form = Form(
        kernels=learned.kernels,
        moves=moves,
        widths=prepared.rows.widths,
        kernel=Gaussian(),
        factor=relative_size(learned.kernels.factor, prepared.factor),
        log_likelihood=learned.log_likelihood,
        steps=learned.steps,
    )
    return assemble(points, jnp.exp(log_weights), prepared.standard, form)
