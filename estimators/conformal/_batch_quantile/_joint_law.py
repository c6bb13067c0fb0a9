"""The joint law of the ranks of several test order statistics, in a box."""

import functools

import numpy as np
from jaxtyping import Float, Int


def box_probability(
    n: int,
    m: int,
    positions: tuple[int, ...],
    lower: Int[np.ndarray, " positions"],
    upper: Int[np.ndarray, " positions"],
) -> float:
    """P(lower_j < R_(z_j) <= upper_j for all j), for distinct scores.

    The ranks (R_1 - 1, .., R_m - 1) are the partial sums of m + 1 independent geometric
    numbers given that these add up to n: every composition of n is as likely. So the ranks at
    the positions form a Markov chain, whose steps are negative binomial in z_j - z_(j-1), and
    the probability is a chain of convolutions, each cut to its interval: O(n log n) a
    position by the fast Fourier transform, right to about 1e-13. The geometric mean is put
    near n / m, where the event that is conditioned on is likely.
    """
    counts = np.arange(n + 1)
    step = functools.partial(_step, n, m)
    inside = (counts[None] >= lower[:, None]) & (counts[None] < upper[:, None])
    chain, before = inside[0] * step(positions[0]), positions[0]
    for position, allowed in zip(positions[1:], inside[1:], strict=True):
        chain, before = allowed * _convolve(chain, step(position - before)), position
    return float(chain @ step(m + 1 - before)[::-1] / step(m + 1)[n])


@functools.lru_cache(maxsize=16)
def _step(n: int, m: int, length: int) -> Float[np.ndarray, " counts"]:
    """The law of the sum of `length` of the geometric numbers, at 0 .. n."""
    from scipy import stats

    law = stats.nbinom.pmf(np.arange(n + 1), length, (m + 1) / (n + m + 1))
    law.flags.writeable = False  # it is shared by all boxes
    return law


def _convolve(
    a: Float[np.ndarray, " counts"], b: Float[np.ndarray, " counts"]
) -> Float[np.ndarray, " counts"]:
    """The first entries of the convolution, as many as there were."""
    size = 1 << (2 * len(a) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[: len(a)]
