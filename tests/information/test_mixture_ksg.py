"""MixtureKSG against numpy, deletion, and the closed forms of Gao et al. (2017)."""

import counts_by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from estimators import information


def mixed(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (n, 1)).astype(float)
    y = np.where(rng.random((n, 1)) < 0.3, 0, x + rng.normal(size=(n, 1)))
    return x, y


@pytest.mark.parametrize("k", [1, 4])
def test_value_and_standard_error_by_hand(k, x64):
    x, y = mixed(40)
    scaled = [(column - column.mean(0)) / column.std(0) for column in (x, y)]
    value = float(information.mixture_ksg(x, y, neighbours=k))
    assert abs(value - counts_by_hand.mixture(*scaled, k)) < 1e-10
    estimate = information.MixtureKSG(neighbours=k).estimate(x, y)
    assert abs(float(estimate.value) - value) < 1e-12
    # The scale is fixed: the public estimate takes it from all rows.
    by_deletion = counts_by_hand.jackknife(lambda x, y: counts_by_hand.mixture(x, y, k), *scaled)
    np.testing.assert_allclose(estimate.standard_error, by_deletion, rtol=1e-9)


def steps(key, n, m=5):
    """X uniform on 0 .. m - 1, Y uniform on [X, X + 2]: log m - (m - 1) log 2 / m."""
    of_x, of_y = jax.random.split(key)
    x = jax.random.randint(of_x, (n, 1), 0, m).astype(float)
    return x, x + 2 * jax.random.uniform(of_y, (n, 1))


def atoms(key, n):
    """Half of the time both are 9 or -9, the same with probability .9; else normal, rho = .9.

    Atoms and the rest are told apart by either column, which adds log 2.
    """
    of_kind, of_sign, of_flip, of_normal = jax.random.split(key, 4)
    z, noise = jax.random.normal(of_normal, (2, n, 1))
    sign = jax.random.rademacher(of_sign, (n, 1), z.dtype)
    flip = jnp.where(jax.random.bernoulli(of_flip, 0.9, (n, 1)), 1, -1)
    discrete = jax.random.bernoulli(of_kind, 0.5, (n, 1))
    w = 0.9 * z + np.sqrt(1 - 0.81) * noise
    return jnp.where(discrete, 9 * sign, z), jnp.where(discrete, 9 * flip * sign, w)


MIXED_LAWS = {
    "steps": (np.log(5) - 4 / 5 * np.log(2), steps, 0.02),
    "atoms and normal": (
        np.log(2)
        + 0.5 * (np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1))
        - 0.25 * np.log(1 - 0.81),
        atoms,
        0.03,
    ),
}


@pytest.mark.parametrize("law", MIXED_LAWS)
def test_finds_the_truth(law):
    # Mean of 20 data sets of 1000 within the bias stated and 5 standard errors: false alarm
    # below 1e-5.
    truth, sample, bias = MIXED_LAWS[law]
    keys = jax.random.split(jax.random.key(0), 20)
    values = jax.lax.map(lambda key: information.mixture_ksg(*sample(key, 1000)), keys)
    assert abs(values.mean() - truth) < bias + 5 * jnp.std(values) / np.sqrt(20)


def test_discrete_columns_are_counted_exactly(x64):
    # All radii are zero: the plug-in value of the table but for psi(m) in place of log(m).
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (400, 1))
    y = np.where(rng.random((400, 1)) < 0.1, 1 - x, x)
    table = np.histogram2d(x[:, 0], y[:, 0], 2)[0] / 400
    plug_in = (table * np.log(table / table.sum(0) / table.sum(1, keepdims=True))).sum()
    assert abs(float(information.mixture_ksg(x, y)) - plug_in) < 4 / 400


@pytest.mark.parametrize("unit", [1, 3, 10])
def test_counts_tie_in_any_unit(unit):
    """Equation by hand, with differences of whole numbers before they are scaled."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 150)
    y = rng.poisson(3 + x)
    away = [np.abs(v[:, None] - v[None]) / v.std() for v in (x, y)]
    joint = np.maximum(*away)
    radius = np.sort(joint, 1)[:, 5]
    alone = radius == 0
    inside = [
        np.where(alone, np.sum(d == 0, 1), np.sum(d < radius[:, None], 1)) for d in (joint, *away)
    ]
    near = np.where(alone, inside[0], 5)
    expected = np.log(150) + np.mean(digamma(near) - digamma(inside[1]) - digamma(inside[2]))
    found = information.mixture_ksg(unit * x[:, None], unit * y[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
