"""How far to pull the eigenvalues of a sample covariance towards their mean."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import product
from estimators._core._collect import Part, total

RULES = ("ledoit-wolf", "oas")


def intensity(
    rule: str,
    points: Float[Array, "n d"],
    mean: Float[Array, " d"],
    eigenvalues: Float[Array, " d"],
    part: Part | None = None,
) -> Float[Array, ""]:
    """Share of the target `mean(eigenvalues) I` in the shrunken covariance, in [0, 1].

    Args:
        rule: "ledoit-wolf" (Ledoit & Wolf 2004, lemma 3.2-3.4) or "oas" (Chen, Wiesel, Eldar &
            Hero 2010, eq. 23; scikit-learn leaves out its terms 2/d).
        points: the rows.
        mean: their mean.
        eigenvalues: all d of the covariance with divisor n.
        part: inside `jax.shard_map`, which rows these are.
    """
    n, d = points.shape
    n = n if part is None else part.count
    trace, square = jnp.sum(eigenvalues), jnp.sum(eigenvalues**2)
    apart = square - trace**2 / d  # squared distance from the target
    if rule == "oas":
        value = (square * (1 - 2 / d) + trace**2) / ((n + 1 - 2 / d) * apart)
    else:
        norms = jnp.sum((points - mean[None]) ** 2, -1)
        if part is not None:
            norms = jnp.where(part.number >= 0, norms, 0)
        fourth = total(product(norms, norms), None if part is None else part.axis_name)
        value = (fourth / n - square) / (n * apart)
    return jnp.where(apart > 0, jnp.clip(value, 0, 1), 1.0)
