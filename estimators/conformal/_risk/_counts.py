"""Losses of sets of labels, all of them functions of a few counts."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float


class Counts(NamedTuple):
    """What the losses of a set of labels need to know of it.

    Attributes:
        hits: true labels in the set.
        size: labels in the set.
        positives: true labels.
        labels: all labels.
    """

    hits: Float[Array, "..."]
    size: Float[Array, "..."]
    positives: Float[Array, "..."]
    labels: int


def miscoverage(
    sets: Bool[ArrayLike, "*batch labels"], labels: Bool[ArrayLike, "*batch labels"]
) -> Float[Array, "*batch"]:
    """1 where a true label is not in the set, else 0.

    Args:
        sets: `(*batch, labels)`, true where the label is in the set.
        labels: `(*batch, labels)`, true where the label is true: one a row, or several.

    Returns:
        `(*batch,)`.

    Raises:
        ValueError: for shapes that differ, or arrays that are not boolean.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> sets = jnp.array([True, True, False, False])
        >>> labels = jnp.array([True, False, True, True])
        >>> print(conformal.miscoverage(sets, labels))
        1.0
    """
    return _missed(_count(sets, labels))


def false_negative_rate(
    sets: Bool[ArrayLike, "*batch labels"], labels: Bool[ArrayLike, "*batch labels"]
) -> Float[Array, "*batch"]:
    """The share of the true labels that are not in the set; 0 where there are none.

    Args: see `miscoverage`.

    Returns:
        `(*batch,)`. It falls as the set grows.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> sets = jnp.array([True, True, False, False])
        >>> labels = jnp.array([True, False, True, True])
        >>> print(f"{conformal.false_negative_rate(sets, labels):.4f}")
        0.6667
    """
    return _share_missed(_count(sets, labels))


def false_discovery_proportion(
    sets: Bool[ArrayLike, "*batch labels"], labels: Bool[ArrayLike, "*batch labels"]
) -> Float[Array, "*batch"]:
    """The share of the labels in the set that are not true; 0 where it is empty.

    Args: see `miscoverage`.

    Returns:
        `(*batch,)`. It goes up and down as the set grows: for `LearnThenTest`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> sets = jnp.array([True, True, False, False])
        >>> labels = jnp.array([True, False, True, True])
        >>> print(conformal.false_discovery_proportion(sets, labels))
        0.5
    """
    return _share_false(_count(sets, labels))


def set_size_fraction(sets: Bool[ArrayLike, "*batch labels"]) -> Float[Array, "*batch"]:
    """The share of all labels that are in the set.

    Args: see `miscoverage`.

    Returns:
        `(*batch,)`. It rises as the set grows.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> print(conformal.set_size_fraction(jnp.array([True, True, False, False])))
        0.5
    """
    return _share_taken(_count(sets, sets))


def as_mask(name: str, array, shape: tuple[int, ...] | None = None) -> Bool[Array, "..."]:
    """Check a mask of labels, `(..., labels)`, of a shape where it is given."""
    mask = jnp.asarray(array)
    if mask.dtype != bool:
        raise ValueError(f"{name} must be booleans, one a label; got {mask.dtype}")
    if mask.ndim == 0 or mask.shape[-1] == 0 or (shape is not None and mask.shape != shape):
        wanted = "(*batch, labels)" if shape is None else shape
        raise ValueError(f"{name} must have shape {wanted}; got shape {mask.shape}")
    return mask


def _count(sets, labels) -> Counts:
    sets = as_mask("sets", sets)
    labels = as_mask("labels", labels, sets.shape)

    def number(mask):
        return mask.sum(-1).astype(jnp.result_type(float))

    return Counts(number(sets & labels), number(sets), number(labels), sets.shape[-1])


def _missed(counts):
    return (counts.hits < counts.positives).astype(counts.hits.dtype)


def _share_missed(counts):
    return (counts.positives - counts.hits) / jnp.maximum(counts.positives, 1)


def _share_false(counts):
    return (counts.size - counts.hits) / jnp.maximum(counts.size, 1)


def _share_taken(counts):
    return counts.size / counts.labels


LOSSES: dict[str, Callable[[Counts], Array]] = {
    "miscoverage": _missed,
    "false negative rate": _share_missed,
    "false discovery proportion": _share_false,
    "set size fraction": _share_taken,
}
