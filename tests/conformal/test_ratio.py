"""Density ratios: closed forms, a peer, and the coverage that they restore."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from estimators import conformal, density
from estimators.testing import refuses

KEY = jax.random.key(0)


def test_logistic_coefficients_are_those_of_scikit_learn(x64):
    """Both samples weighed to a half, the same penalty."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(300, 2)), rng.normal(0.7, 0.8, size=(100, 2))
    fitted = conformal.LogisticRatio(squares=False, ridge=0.01).fit(source, target)
    assert fitted.info.gradient < 1e-12
    rows = np.concatenate([source, target])
    label = np.arange(400) >= 300
    standard = (rows - rows.mean(0)) / rows.std(0)
    peer = LogisticRegression(C=100.0, tol=1e-10, max_iter=1000)
    peer.fit(standard, label, np.where(label, 0.5 / 100, 0.5 / 300))
    np.testing.assert_allclose(fitted.coefficients, peer.coef_[0], rtol=1e-4)
    odds = np.exp(peer.decision_function(standard))
    np.testing.assert_allclose(fitted.ratio(rows), odds, rtol=1e-3)
    probability = peer.predict_proba(standard)[:, 1]
    balanced = conformal.ratio_from_probability(probability, 300, 300)
    np.testing.assert_allclose(balanced, fitted.ratio(rows), rtol=1e-3)
    tripled = conformal.ratio_from_probability(probability, 300, 100)
    np.testing.assert_allclose(tripled, 3 * balanced)


def test_ratios_of_normal_laws_are_found():
    """N(0, 1) against N(1, 1/4) in one of two columns, the other constant: the log ratio is
    0.93 and -1.31 at two places. A kernel smooths the tail of the target, so it is judged where
    that is dense."""
    source = jnp.stack([jax.random.normal(KEY, (4000,)), jnp.full(4000, 3.0)], 1)
    target = jnp.stack([1 + 0.5 * source[:, 0], source[:, 1]], 1)
    x = jnp.array([[0.8, 3.0], [0.0, 3.0]])
    truth = jnp.log(2.0) - 2 * (x[:, 0] - 1) ** 2 + 0.5 * x[:, 0] ** 2
    fitted = conformal.LogisticRatio().fit(source, target)
    np.testing.assert_allclose(jnp.log(fitted.ratio(x)), truth, atol=0.25)
    assert fitted.info.effective_sample_size < 3000
    spec = density.KDE("scott")
    kernel = conformal.KernelRatio(spec).fit(source[:, :1], target[:, :1])
    logs = [spec.fit(rows[:, :1]).log_density(x[:, :1]) for rows in (target, source)]
    np.testing.assert_allclose(jnp.log(kernel.ratio(x[:, :1])), logs[0] - logs[1], rtol=1e-5)
    np.testing.assert_allclose(jnp.log(kernel.ratio(x[:1, :1])), truth[:1], atol=0.25)


@pytest.mark.validation
def test_estimated_weights_restore_coverage():
    """Rows at uniform x, new ones at its square root, noise that grows with x: without weights
    the coverage is far below .9 (see test_regression); with weights from 400 rows of each law
    it is within 4 standard errors of .9 or above, false alarm 3e-5."""

    def one(key):
        keys = jax.random.split(key, 6)
        x, source = jax.random.uniform(keys[0], (100,)), jax.random.uniform(keys[1], (400, 1))
        target = jnp.sqrt(jax.random.uniform(keys[2], (401, 1)))
        target, new_x = target[1:], target[0]
        fitted = conformal.LogisticRatio().fit(source, target)
        y = (0.1 + x) ** 3 * jax.random.normal(keys[3], (100,))
        new_y = (0.1 + new_x) ** 3 * jax.random.normal(keys[4], (1,))
        plain = conformal.SplitRegression(0.9).calibrate(0 * x, y)
        weights = fitted.ratio(x[:, None])
        weighted = conformal.SplitRegression(0.9).calibrate(0 * x, y, weights=weights)
        ends = (
            plain.interval(0 * new_x),
            weighted.interval(0 * new_x, weights=fitted.ratio(new_x[None])),
        )
        return [((lower <= new_y) & (new_y <= upper))[0] for lower, upper in ends]

    plain, weighted = jax.jit(jax.vmap(one))(jax.random.split(KEY, 2000))
    error = np.sqrt(0.09 / 2000)
    assert plain.mean() < 0.9 - 4 * error
    assert 0.9 - 4 * error < weighted.mean() < 0.97


def test_separated_laws_and_bad_input():
    rows = jnp.arange(10.0)[:, None]
    apart = conformal.LogisticRatio().fit(rows, rows + 100)
    assert jnp.isfinite(apart.ratio(rows)).all()
    assert apart.ratio(rows + 100).min() > 100 * apart.ratio(rows).max()
    with refuses("target must have 1 columns, as the points had; got shape"):
        conformal.LogisticRatio().fit(rows, jnp.ones((10, 2)))
    with refuses("ridge must be finite and not negative; got -1.0"):
        conformal.LogisticRatio(ridge=-1.0)
    with refuses(r"probability must lie in \[0, 1\); got 1.0"):
        conformal.ratio_from_probability(jnp.array([0.5, 1.0]), 3, 3)
    assert jnp.isnan(jax.jit(lambda p: conformal.ratio_from_probability(p, 3, 3))(1.0))
    with refuses("source must be a whole number >= 1; got 0"):
        conformal.ratio_from_probability(0.5, 0, 3)
    poisoned = jax.jit(lambda x: conformal.LogisticRatio().fit(x, rows).ratio(rows))(
        rows.at[0, 0].set(jnp.nan)
    )
    assert jnp.isnan(poisoned).all()
