"""The mixtures among the benchmark tasks: X, AI, Waves, Galaxy, Concentric, and inliers."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from estimators.information.simulate._correlations import dense_correlation, sparse_correlation
from estimators.information.simulate._mixture import Mixture
from estimators.information.simulate._shear import Affine, Wave
from estimators.information.simulate._spiral import Spiral
from estimators.information.simulate._transformed import Transformed

DRAWS = 1 << 20


def crossed(correlation: Real[ArrayLike, ""] = 0.9) -> Mixture:
    """The letter X: two normal laws of opposite correlation, 1x1."""
    opposite = jnp.asarray(correlation) * np.array([-1.0, 1.0])
    matrices = [dense_correlation(1, 1, correlation=one) for one in opposite]
    return Mixture(_array([0.5, 0.5]), jnp.zeros((2, 2)), jnp.stack(matrices), dx=1, draws=DRAWS)


def letters() -> Mixture:
    """The letters AI, 1x1: six normal laws."""
    slant = 0.95 * np.sqrt(0.04 * 0.2)
    means = [(1.0, 0.0), (1.0, 1.0), (1.0, -1.0), (-0.8, -0.2), (-1.2, 0.0), (-0.4, 0.0)]
    upright = [(0.01, 0.2), (0.05, 0.001), (0.05, 0.001), (0.03, 0.001)]
    slanted = [[[0.04, sign * slant], [sign * slant, 0.2]] for sign in (1, -1)]
    covariances = np.array([*map(np.diag, upright), *slanted])
    return Mixture(_array([1 / 6] * 6), _array(means), _array(covariances), dx=1, draws=DRAWS)


def waves(
    components: int = 12,
    amplitude: Real[ArrayLike, ""] = 5.0,
    frequency: Real[ArrayLike, ""] = 3.0,
) -> Transformed:
    """Stripes, sheared along a sine, in four bands of y, 2x1."""
    place = np.arange(components)
    means = 1.5 * np.stack([place, 0 * place, place % 4], 1)
    covariances = np.tile(np.diag([0.1, 1.0, 0.1]), (components, 1, 1))
    base = Mixture(
        jnp.full(components, 1 / components),
        _array(means),
        _array(covariances),
        dx=2,
        draws=DRAWS,
    )
    scaled = Affine(_array(np.diag([0.1, 0.5])), _array([-0.8, 0.0]))
    return Transformed(base, of_x=(Wave(amplitude, frequency), scaled))


def galaxy(speed: Real[ArrayLike, ""] = 0.5, distance: Real[ArrayLike, ""] = 3.0) -> Transformed:
    """Two balls whose x is wound up into spiral arms, 2x1."""
    means = jnp.asarray(distance) / 2 * np.array([[-1.0] * 3, [1.0] * 3])
    covariances = jnp.tile(jnp.eye(3), (2, 1, 1))
    base = Mixture(_array([0.5, 0.5]), means, covariances, dx=2, draws=DRAWS)
    return Transformed(base, of_x=Spiral(speed))


def concentric(dx: int, components: int = 5) -> Mixture:
    """Balls around one centre, of radius 1, 2, ...; y tells which, almost without noise."""
    radius = np.arange(1.0, components + 1)
    means = np.concatenate([np.zeros((components, dx)), radius[:, None]], 1)
    widths = np.concatenate([np.tile(radius[:, None] ** 2, dx), np.full((components, 1), 1e-4)], 1)
    covariances = widths[:, :, None] * np.eye(dx + 1)
    weights = jnp.full(components, 1 / components)
    return Mixture(weights, _array(means), _array(covariances), dx=dx, draws=DRAWS)


def with_inliers(
    dx: int,
    dy: int,
    fraction: Real[ArrayLike, ""],
    *,
    interacting: int = 2,
    strength: Real[ArrayLike, ""] = 2.0,
) -> Mixture:
    """A sparse normal law, a fraction of whose pairs are independent draws of x and of y."""
    signal = sparse_correlation(dx, dy, interacting=interacting, strength=strength)
    of_y = np.arange(dx + dy) >= dx
    independent = jnp.where(of_y[:, None] == of_y[None], signal, 0)
    weights = jnp.stack([1 - jnp.asarray(fraction), jnp.asarray(fraction)])
    covariances = jnp.stack([signal, independent])
    return Mixture(weights, jnp.zeros((2, dx + dy)), covariances, dx=dx, draws=DRAWS)


def _array(values):
    return jnp.asarray(np.asarray(values), jnp.result_type(float))
