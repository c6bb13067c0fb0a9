"""Noise levels to sample at: decreasing, from the noisiest to zero.

They are numpy arrays: how many there are, and whether the last is zero, must be known when a
sampler is compiled.
"""

import numpy as np

from estimators._core import checks


def edm_schedule(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> np.ndarray:
    """Levels evenly spaced in `sigma^(1 / rho)`, then zero: `(steps + 1,)`.

    Its tail from any level on is the schedule of the same kind that starts there, so dropping
    the first levels (teleportation) keeps the rest as they were.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max` and `rho > 0`.

    Reference: Karras, Aittala, Aila & Laine, Elucidating the Design Space of Diffusion-Based
    Generative Models (2022), eq. 5.

    Example:
        >>> from estimators import score
        >>> print(score.edm_schedule(4).round(3))
        [8.000e+01 9.723e+00 4.700e-01 2.000e-03 0.000e+00]
    """
    steps, low, high = _range(steps, sigma_min, sigma_max)
    checks.positive("rho", rho)
    ends = np.linspace(high ** (1 / rho), low ** (1 / rho), steps) ** rho
    return _ended(ends, low, high)


def log_uniform_schedule(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0
) -> np.ndarray:
    """Levels evenly spaced in `log sigma`, then zero: `(steps + 1,)`.

    The grid on which multistep solvers in `log sigma` have equal steps.
    """
    steps, low, high = _range(steps, sigma_min, sigma_max)
    return _ended(np.geomspace(high, low, steps), low, high)


def cosine_schedule(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0) -> np.ndarray:
    """Levels at equal times of the cosine noise `sigma = tan(pi t / 2)`, then zero.

    Reference: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models (2021),
    eq. 17, without the offset.
    """
    steps, low, high = _range(steps, sigma_min, sigma_max)
    return _ended(np.tan(np.linspace(np.arctan(high), np.arctan(low), steps)), low, high)


def as_schedule(name: str, sigmas) -> np.ndarray:
    """Check noise levels: known, finite, strictly decreasing, positive but for a last zero."""
    if not checks.is_concrete(sigmas):
        raise ValueError(
            f"{name} must be known when the sampler is compiled: a numpy array (such as "
            "score.edm_schedule(18)) or a constant, not an argument of the jitted function"
        )
    try:
        levels = np.asarray(sigmas, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers; got {sigmas!r:.60}") from None
    if levels.ndim != 1 or levels.size < 2:
        raise ValueError(f"{name} must have shape (levels,), two or more; got shape {levels.shape}")
    if not np.isfinite(levels).all():
        raise ValueError(f"{name} must be finite; got {levels.tolist()}")
    falling = np.diff(levels) < 0
    if not falling.all():
        index = int(np.argmin(falling))
        raise ValueError(
            f"{name} must decrease strictly, from noisy to clean; {name}[{index}] is "
            f"{levels[index]:g} and {name}[{index + 1}] is {levels[index + 1]:g}"
        )
    if levels[-1] < 0:
        raise ValueError(f"{name} must not be negative; the last is {levels[-1]:g}")
    return levels


def _range(steps, sigma_min, sigma_max):
    steps = checks.integer("steps", steps, at_least=2)
    for name, value in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        checks.positive(name, value)
    if not sigma_min < sigma_max:
        raise ValueError(f"sigma_min must be below sigma_max = {sigma_max}; got {sigma_min}")
    return steps, float(sigma_min), float(sigma_max)


def _ended(levels, low, high):
    """The ends exactly as they were given, and the zero."""
    levels[0], levels[-1] = high, low
    return np.append(levels, 0.0)
