"""A test of whether predictive distributions are calibrated on average."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Key, Real

from estimators._core import checks
from estimators.conformal._probability._deviation import as_power
from estimators.conformal._probability._test_of_calibration import CalibrationTest, monte_carlo


def pit_calibration_test(
    pit: Real[ArrayLike, " n"], *, key: Key[Array, ""], power: int = 1, draws: int = 999
) -> CalibrationTest:
    """How far outcomes fall from where predictive distributions had them, and if it is chance.

        statistic = integral over u from 0 to 1 of abs(share of pit <= u, less u)**power

    At power 2 it is the Cramer-von Mises statistic over n. Under calibration the values are
    independent and uniform; the p-value is the rank among draws of such, and `P(p <= a) <= a`
    holds for every n and number of draws.

    Args:
        pit: `(n,)`, F(y|x) at outcomes, in [0, 1].
        key: draws the uniform samples.
        power: 1 or 2.
        draws: number of draws; no p-value is below `1 / (1 + draws)`.

    Returns:
        The error as `statistic`, in [0, 1], and the p-value.

    Raises:
        ValueError: for values outside [0, 1]; inside jit these give NaN.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> pit = jax.random.uniform(jax.random.key(0), (300,)) ** 2
        >>> test = conformal.pit_calibration_test(pit, key=jax.random.key(1))
        >>> print(f"{test.statistic:.2f} {test.p_value:.3f}")
        0.17 0.001

    Reference: Dheur & Ben Taieb 2023, A large-scale study of probabilistic calibration in neural
    network regression, section 2 (probabilistic calibration error).

    When it fails: a distribution that ignores x altogether can pass. Distributions with jumps
    give values that are not uniform.
    """
    values = checks.as_unit("pit", checks.as_vector("pit", pit))
    power, draws = as_power(power), checks.integer("draws", draws, at_least=1)
    return _test(values, checks.as_key(key), power, draws)


@functools.partial(jax.jit, static_argnames=("power", "draws"))
def _test(values, key, power: int, draws: int) -> CalibrationTest:
    n = values.shape[0]
    share = jnp.arange(n + 1, dtype=values.dtype) / n

    def statistic(ordered):
        """In each gap between two values the share is constant, and the integral is known."""
        ends = jnp.pad(ordered, (1, 1), constant_values=(0, 1))

        def integral(to):
            return jnp.sign(to) * jnp.abs(to) ** (power + 1) / (power + 1)

        return jnp.sum(integral(ends[1:] - share) - integral(ends[:-1] - share))

    def drawn(key):
        # Sums of exponential gaps over their total: uniform values that are in order already.
        reached = jnp.cumsum(jax.random.exponential(key, (n + 1,), jnp.float32))
        return statistic((reached[:-1] / reached[-1]).astype(values.dtype))

    # NaN sorts to the end, and is one of the terms.
    return monte_carlo(statistic(jnp.sort(values)), drawn, key, draws)
