"""What a test or an interval may be asked about: an estimator object, or a function of x and y."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Spec, checks


class OfFunction(Spec):
    """A function of x and y with the face of an estimator."""

    function: Callable = eqx.field(static=True)

    def estimate(self, x, y):
        """What the function returns."""
        return self.function(x, y)


def as_estimator(name: str, estimator) -> Any:
    """A pytree with `estimate(x, y)`, so that one compiled program takes either kind.

    An estimator object is data: two with the same static options share a program. A function is
    a constant, compiled once for each function object.
    """
    if isinstance(estimator, type):
        raise ValueError(
            f"{name} must be an estimator, not its class; write {estimator.__name__}(...)"
        )
    owner = getattr(estimator, "__self__", None)
    if isinstance(owner, eqx.Module) and getattr(estimator, "__name__", "") == "estimate":
        estimator = owner
    method = getattr(estimator, "estimate", None)
    _takes_a_pair(name, method if callable(method) else estimator)
    if callable(method):
        return estimator if isinstance(estimator, eqx.Module) else OfFunction(method)
    if callable(estimator):
        return OfFunction(estimator)
    raise ValueError(
        f"{name} must be an estimator with estimate(x, y), as information.KSG(), or a function of "
        f"x and y; got {type(estimator).__name__}"
    )


def _takes_a_pair(name: str, function) -> None:
    """Refuse what cannot be called with x and y alone."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # not callable, or of a kind that has none
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise ValueError(
            f"{name} must be called with x and y alone; this one takes {signature}. A function of "
            f"x and y may give it the rest"
        ) from None


def number_of(estimator, x, y) -> Float[Array, ""]:
    """The value alone, in the dtype of the data."""
    result = estimator.estimate(x, y)
    value = jnp.asarray(result.value if hasattr(result, "value") else result, x.dtype)
    if value.ndim:
        raise ValueError(
            f"an estimator, or statistic, must give one number; this one gives shape {value.shape}"
        )
    return value


def number_of_blocks(block: int, n: int) -> int:
    """How many whole blocks of rows there are: 2 at least."""
    checks.integer("block", block, at_least=1)
    if n // block < 2:
        raise ValueError(
            f"block must leave at least 2 blocks, so be at most {n // 2} for {n} rows; got {block}"
        )
    return n // block
