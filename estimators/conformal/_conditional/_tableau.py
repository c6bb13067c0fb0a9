"""The regression with a kernel as a quadratic program, and the tableau of its conditions.

With weights `eta_i` from coverage - 1 to coverage and coefficients b, residuals are

    w = s - A z,  z = (eta, b),  A = [[K, Phi], [Phi', 0]],  s = (S, 0)

The basic entries, all of b among them, have w = 0; of the others eta is at an end of its range.
The tableau H is A with the basic entries exchanged: where s changes by ds, z of the basic ones
and w of the others change by

    dz_F = H_FF ds_F,  dw_N = ds_N + H_NF ds_F.

As for the linear program, d artificial rows with eta = 0 stand behind the others.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core import Stored, product


class Conditions(Stored):
    """A solution, and the tableau there; n rows, d artificial ones and d coefficients.

    Attributes:
        tableau: `(n + 2d, n + 2d)`, H.
        weights: `(n + 2d,)`, z.
        residuals: `(n + 2d,)`, w.
        sides: `(n + 2d,)`, ABOVE, BELOW, BASIC or GONE.
        lower: `(n + 2d,)`, least values of z.
        upper: `(n + 2d,)`, largest values of z.
        unit: what the kernel is multiplied by: `1 / (2 penalty (n + 1))`.
    """

    tableau: Float[Array, "entries entries"]
    weights: Float[Array, " entries"]
    residuals: Float[Array, " entries"]
    sides: Int[Array, " entries"]
    lower: Float[Array, " entries"]
    upper: Float[Array, " entries"]
    unit: Float[Array, ""]


class Row(NamedTuple):
    """A new row beside the tableau.

    Attributes:
        column: `(n + 2d,)`, its entries of H.
        own: its diagonal entry.
        level: the regression at the row.
    """

    column: Float[Array, " entries"]
    own: Float[Array, ""]
    level: Float[Array, ""]


def exchanged(matrix: Float[Array, "entries entries"], basic: Int[Array, " k"]):
    """The tableau of a matrix with some entries basic."""
    inverse = jnp.linalg.inv(matrix[basic][:, basic])
    rows = product(inverse, matrix[basic])
    columns = product(matrix[:, basic], inverse)
    tableau = matrix - product(matrix[:, basic], rows)
    tableau = tableau.at[basic].set(rows).at[:, basic].set(-columns)
    return tableau.at[basic[:, None], basic[None]].set(inverse)


def beside(
    conditions: Conditions,
    basic: Bool[Array, " entries"],
    entries: Float[Array, " entries"],
    own: Float[Array, ""],
) -> Row:
    """The row that has these entries of A, its weight being 0."""
    of_basic = jnp.where(basic, entries, 0)
    column = product(conditions.tableau, of_basic) + jnp.where(basic, 0, entries)
    level = jnp.dot(entries, conditions.weights)
    return Row(column, own - jnp.dot(of_basic, column), level)
