"""Training data of a base model, checked."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks


def as_training_rows(
    features, y, prefix: str = "", columns: int | None = None
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """Check features and the outcomes that belong to them; both in one dtype."""
    features = checks.as_points(f"{prefix}features", features, dimension=columns)
    y = checks.as_vector(f"{prefix}y", y, length=features.shape[0])
    dtype = jnp.result_type(features, y)
    return features.astype(dtype), y.astype(dtype)
