"""Boundary checks that the kernels and aggregators of this family share."""

from jaxtyping import Array, Float

from estimators._core import checks


def as_levels(levels, count: int) -> Float[Array, " levels"]:
    """Check `count` levels."""
    array = checks.as_levels("levels", levels)
    if array.shape[0] != count:
        raise ValueError(
            f"levels must have length {count}, the last axis of predictions; got {array.shape[0]}"
        )
    return array


def as_rows(predictions) -> Float[Array, "*batch levels"]:
    """Check one prediction a level."""
    array = checks.as_float("predictions", predictions)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"predictions must have shape (*batch, levels); got shape {array.shape}")
    return array


def as_models(
    predictions, models: int | None = None, levels: int | None = None, prefix: str = ""
) -> Float[Array, "*batch models levels"]:
    """Check one prediction a model and level."""
    array = checks.as_float(f"{prefix}predictions", predictions)
    names = (
        "models" if models is None else f"{models} models",
        "levels" if levels is None else f"{levels} levels",
    )
    sizes = array.shape[-2:]
    wanted = (models, levels)
    fits = all(want in (None, size) for want, size in zip(wanted, sizes, strict=False))
    if array.ndim < 2 or 0 in sizes or not fits:
        raise ValueError(
            f"{prefix}predictions must have shape (*batch, {names[0]}, {names[1]}); "
            f"got shape {array.shape}"
        )
    return array


def as_training(
    predictions, y, prefix: str = ""
) -> tuple[Float[Array, "n models levels"], Float[Array, " n"]]:
    """Check finite predictions and the outcomes that belong to them."""
    array = as_models(predictions, prefix=prefix)
    if array.ndim != 3:
        raise ValueError(
            f"{prefix}predictions must have shape (n, models, levels); got shape {array.shape}"
        )
    checks.finite(f"{prefix}predictions", array)
    return array, checks.as_vector(f"{prefix}y", y, length=array.shape[0])
