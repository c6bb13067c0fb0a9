"""Boundary checks: bad input is refused here, with the argument, what it was, what it must be.

Shapes and types are checked always; values only where they are known, that is outside
`jax.jit`. Inside it the kernels give NaN and a status instead (see `poison`).
"""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool


class PrecisionWarning(UserWarning):
    """A float64 array was narrowed to float32 because jax runs without 64 bits."""


def holds(predicate, *arrays) -> bool:
    """Evaluate a test on arrays whose values are known, also while something else is traced.

    A constant closed over by a jitted function is known, but an operation on it is staged.
    """
    with jax.ensure_compile_time_eval():
        return bool(predicate(*arrays))


def is_concrete(x) -> bool:
    """Whether the values of `x` are known now, rather than traced."""
    return not isinstance(x, jax.core.Tracer)


def as_float(name: str, x) -> Array:
    """Convert `x` to a float32 or float64 array; integers become the default float.

    Raises:
        ValueError: if `x` is not numeric, or has a dtype other than those.
    """
    kind = getattr(x, "dtype", None)
    if kind == np.float64 and jnp.result_type(float) == jnp.float32:
        if not as_float.warned:
            as_float.warned = True
            warnings.warn(
                f"{name} is float64 but jax runs in 32 bits: it is narrowed to float32. Set "
                "JAX_ENABLE_X64=1 (or jax.config.update('jax_enable_x64', True)) to keep "
                "float64, or pass float32. This is said once.",
                PrecisionWarning,
                stacklevel=3,
            )
        x = np.asarray(x, np.float32)
    try:
        array = jnp.asarray(_whole_as_float(x))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers; got {_describe(x)}") from error
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
        array = array.astype(jnp.result_type(float))
    if array.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"{name} must be float32 or float64 (or integers); got {array.dtype}")
    return array


as_float.warned = False


def _whole_as_float(x):
    """Whole numbers on the host as floats: jax would keep the lowest 32 bits of them."""
    if isinstance(x, jax.Array):
        return x
    try:
        host = np.asarray(x)
    except (TypeError, ValueError):  # ragged, or tracers in a list
        return x
    return host.astype(jnp.result_type(float)) if host.dtype.kind in "iub" else x


def whole_numbers_fit(array: np.ndarray) -> bool:
    """Whether jax keeps whole numbers of the host as they are: in 32 bits it wraps around."""
    if array.dtype.kind not in "iu" or not array.size:
        return True
    bits = np.iinfo(jnp.result_type(int)).bits
    kept = np.iinfo(f"{'u' * (array.dtype.kind == 'u')}int{bits}")
    return bool(kept.min <= array.min() and array.max() <= kept.max)


def as_number(name: str, x) -> Array:
    """Check a single number, shape `()`."""
    array = as_float(name, x)
    if array.ndim:
        raise ValueError(f"{name} must be a single number; got shape {array.shape}")
    return array


def as_points(name: str, x, *, dimension: int | None = None, at_least: int = 1) -> Array:
    """Check an array of samples, `(n, d)`: rows are samples, every entry finite."""
    array = as_float(name, x)
    if array.ndim == 1:
        raise ValueError(
            f"{name} must have shape (n, d), one row a sample; got shape {array.shape}. "
            f"Write {name}[:, None] for n samples of one variable, {name}[None, :] for one sample."
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d) with d >= 1; got shape {array.shape}")
    if dimension is not None and array.shape[1] != dimension:
        raise ValueError(
            f"{name} must have {dimension} columns, as the points had; got shape {array.shape}"
        )
    if array.shape[0] < at_least:
        raise ValueError(
            f"{name} must have at least {at_least} rows; got {array.shape[0]} (shape {array.shape})"
        )
    return finite(name, array)


def as_queries(name: str, x, dimension: int) -> Array:
    """Check evaluation points, `(*batch, d)`."""
    array = as_float(name, x)
    if array.ndim == 0 or array.shape[-1] != dimension:
        hint = f"; write {name}[..., None]" if dimension == 1 else ""
        raise ValueError(
            f"{name} must have shape (*batch, {dimension}), as the points had {dimension} "
            f"columns; got shape {array.shape}{hint}"
        )
    return finite(name, array)


def as_vector(name: str, x, *, length: int | None = None, at_least: int = 1) -> Array:
    """Check a finite `(n,)` array."""
    array = as_float(name, x)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,); got shape {array.shape}")
    if length is not None and array.shape[0] != length:
        raise ValueError(f"{name} must have length {length}; got shape {array.shape}")
    if array.shape[0] < at_least:
        raise ValueError(f"{name} must have at least {at_least} entries; got shape {array.shape}")
    return finite(name, array)


def as_unit(name: str, x) -> Array:
    """Check numbers in [0, 1]; inside jit one that is not becomes NaN."""
    array = finite(name, as_float(name, x))
    if is_concrete(array) and not holds(lambda a: ((a >= 0) & (a <= 1)).all(), array):
        values = np.asarray(array)
        outside = values[(values < 0) | (values > 1)]
        raise ValueError(
            f"{name} must lie in [0, 1]; {outside.size} of {values.size} do not, the first is "
            f"{outside[0]}"
        )
    return jnp.where((array >= 0) & (array <= 1), array, jnp.nan)


def as_weights(name: str, weights, n: int, dtype) -> Array:
    """Check `(n,)` non-negative weights with a positive sum; None means equal weights."""
    if weights is None:
        return jnp.ones(n, dtype)
    array = as_vector(name, weights, length=n).astype(dtype)
    if is_concrete(array):
        if holds(lambda a: (a < 0).any(), array):
            if not array.is_fully_addressable:
                raise ValueError(f"{name} must not be negative; on one of the processes they are")
            index = int(np.argmax(np.asarray(array) < 0))
            raise ValueError(
                f"{name} must not be negative; {name}[{index}] is {np.asarray(array)[index]}"
            )
        if not holds(lambda a: a.sum() > 0, array):
            raise ValueError(f"{name} must have a positive sum; all {n} are zero")
    return array


def as_levels(name: str, levels) -> Array:
    """Check quantile levels: `(L,)`, strictly increasing, inside (0, 1)."""
    array = as_vector(name, levels)
    if is_concrete(array):
        values = np.asarray(array)
        if not ((values > 0) & (values < 1)).all():
            bad = values[~((values > 0) & (values < 1))][0]
            raise ValueError(f"{name} must lie strictly between 0 and 1; got {bad}")
        if not (np.diff(values) > 0).all():
            raise ValueError(f"{name} must increase strictly; got {values.tolist()}")
    return array


def finite(name: str, array: Array) -> Array:
    """Refuse NaN and infinities where the values are known."""
    if is_concrete(array) and not holds(lambda a: jnp.isfinite(a).all(), array):
        if not array.is_fully_addressable:
            raise ValueError(f"{name} must be finite; on one of the processes it is not")
        values = np.asarray(array)
        bad = np.argwhere(~np.isfinite(values))
        where = f"{name}[{', '.join(map(str, bad[0]))}]" if values.ndim else name
        raise ValueError(
            f"{name} must be finite; {where} is {values[tuple(bad[0])]} "
            f"({len(bad)} of {values.size} entries are not finite)"
        )
    return array


def positive(name: str, value, *, zero: bool = False):
    """Refuse a hyper-parameter that is not positive (or not `>= 0` with `zero=True`)."""

    def allowed(value):
        v = jnp.asarray(value)  # in here: elsewhere it would be staged while something is traced
        return (jnp.isfinite(v) & ((v >= 0) if zero else (v > 0))).all()

    if isinstance(value, int | float):
        # Without jax: once it has started, by an import for example, no run can be joined.
        with np.errstate(over="ignore"):
            v = np.asarray(value, jnp.result_type(float))
        known = bool(np.isfinite(v) and ((v >= 0) if zero else (v > 0)))
    else:
        known = not is_concrete(value) or holds(allowed, value)
    if not known:
        bound = "not negative" if zero else "positive"
        raise ValueError(f"{name} must be finite and {bound}; got {value}")
    return value


def probability(name: str, value):
    """Refuse a number outside the open interval (0, 1)."""
    try:
        if isinstance(value, str):
            raise TypeError("a text, which float would read")
        inside = not is_concrete(value) or 0 < float(value) < 1
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a single number; got {_describe(value)}") from None
    if not inside:
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {value}")
    return value


def known(name: str, value):
    """Refuse a traced value, for what decides a rank or a shape."""
    if not is_concrete(value):
        raise ValueError(
            f"{name} must be a known number, of which a rank is computed exactly; it is traced. "
            f"Give it from outside of jit and vmap, or as a static argument"
        )
    return value


def integer(name: str, value, *, at_least: int) -> int:
    """Check a static whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} must be a whole number >= {at_least}; got {value!r}")
    return int(value)


def one_of(name: str, value, options: Sequence[str]) -> str:
    """Check a name against the list of those that are known."""
    if value not in options:
        known = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be one of {known}; got {value!r}")
    return value


def as_key(key) -> Array:
    """Check a new-style PRNG key."""
    if not (hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key must be a new-style key, jax.random.key(seed); got {_describe(key)}")
    if key.ndim != 0:
        raise ValueError(f"key must be one key, shape (); got shape {key.shape}. Use jax.vmap.")
    return key


def poison(tree, ok: Bool[Array, ""]):
    """Replace every float in `tree` by NaN where `ok` is false: no plausible wrong number."""

    def one(leaf):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return jnp.where(ok, leaf, jnp.nan)
        return leaf

    return jax.tree.map(one, tree)


def _describe(x) -> str:
    shape = getattr(x, "shape", None)
    return f"{type(x).__name__}" + (
        f" of shape {shape}, dtype {x.dtype}" if shape is not None else f" {x!r:.60}"
    )
