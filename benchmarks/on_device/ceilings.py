"""What the device can do: rates of products, exponentials, elementwise work and copies.

Each is a small compiled program, long enough to hide its launch. A piece of work states what it
needs of each; the longest of these times is its ceiling.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.on_device.timing import Context, Jax, timed

# Operations on one number: enough that reading and writing it cost little. Those that do not wait
# for each other keep a device busy.
EACH, AT_ONCE = 64, 4
PRODUCTS = {
    "product": ("float32", "highest"),
    "product, precision high": ("float32", "high"),
    "product, precision default": ("float32", "default"),
    "product, bfloat16": ("bfloat16", "default"),
}
UNITS = {"exponentials": "1/s", "elementwise": "operations/s", "bytes": "bytes/s"}


def records(context: Context) -> Iterator[dict]:
    """One record for each rate."""
    side, numbers, copied = (256, 1 << 14, 1 << 18) if context.tiny else (8192, 1 << 26, 1 << 28)
    for name, call, work in (
        ("exponentials", _exponentials(numbers), EACH * numbers),
        ("elementwise", _multiply_adds(numbers), 2 * EACH * numbers),
        ("bytes", _copy(copied), 2 * 4 * copied),
    ):
        found = timed(call, Jax())[1]
        size = copied if name == "bytes" else numbers
        yield _record(name, work / found["median"], f"{size} numbers", found, None)
    for name, (dtype, precision) in PRODUCTS.items():
        call, error = _product(side, dtype, precision)
        found = timed(call, Jax())[1]
        rate = 2 * side**3 / found["median"]
        yield _record(name, rate, f"{side} x {side} x {side}", found, error)


def _record(name, rate, size, found, error) -> dict:
    unit = UNITS.get(name, "operations/s")
    return {
        "piece": "ceilings",
        "rate_of": name,
        "rate": rate,
        "unit": unit,
        "size": size,
        "error": error,
        **found,
    }


def _product(side, dtype, precision):
    """A call, and the relative error that its precision makes."""
    import jax
    import jax.numpy as jnp

    def product(a, b):
        return jnp.matmul(a, b, precision=precision)

    def pair(size):
        keys = jax.random.split(jax.random.key(0))
        return tuple(jax.random.normal(key, (size, size), dtype) for key in keys)

    small = pair(256)
    exact = np.asarray(small[0], np.float64) @ np.asarray(small[1], np.float64)
    found = np.asarray(jax.jit(product)(*small), np.float64)
    large, compiled = pair(side), jax.jit(product)
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    return lambda: compiled(*large), float(error)


def _exponentials(numbers):
    """Sums of exponentials, as a kernel sum takes them, without leaving the registers."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def summed(x):
        return sum(jnp.exp(-(k + 1) / EACH * x) for k in range(EACH))

    x = jax.random.uniform(jax.random.key(1), (numbers,))
    return lambda: summed(x)


def _multiply_adds(numbers):
    import jax

    @jax.jit
    def chained(x, factor, term):
        several = [x + i for i in range(AT_ONCE)]
        for _ in range(EACH // AT_ONCE):
            several = [each * factor + term for each in several]
        return sum(several)

    x = jax.random.uniform(jax.random.key(2), (numbers,))
    return lambda: chained(x, 0.75, 0.125)


def _copy(numbers):
    import jax

    negative = jax.jit(lambda x: -x)
    x = jax.random.uniform(jax.random.key(3), (numbers,))
    return lambda: negative(x)


def ceiling(needs: dict[str, float], rates: dict[str, float]) -> tuple[float, str] | None:
    """The least seconds for some work, and what binds it; None where no rate is known.

    Args:
        needs: operations, exponentials or bytes, by the name of the rate.
        rates: what the device does a second.
    """
    times = {name: need / rates[name] for name, need in needs.items() if name in rates}
    if not times:
        return None
    binding = max(times, key=lambda name: times[name])
    return times[binding], binding
