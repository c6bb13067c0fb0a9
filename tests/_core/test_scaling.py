"""Units of training: numpy's, near and far from the origin, for one outcome and several."""

import jax.numpy as jnp
import numpy as np
import pytest

from estimators._core import Scaling


@pytest.mark.parametrize("columns", [(), (1,), (3,)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_unit_spread_and_back(x64, columns, offset):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(50, 2)) * [1, 20] + offset
    y = generator.normal(size=(50, *columns)) * 3 - offset
    units = Scaling.of(jnp.asarray(features), jnp.asarray(y))
    standard = (features - features.mean(0)) / features.std(0)
    np.testing.assert_allclose(units.features(jnp.asarray(features)), standard, atol=1e-8)
    outcomes = units.outcomes(jnp.asarray(y))
    np.testing.assert_allclose(outcomes, (y - y.mean(0)) / y.std(0), atol=1e-8)
    np.testing.assert_allclose(units.undo(outcomes), y, rtol=1e-12, atol=1e-12)
    batch = units.undo(jnp.broadcast_to(outcomes[None], (4, *outcomes.shape)))
    np.testing.assert_allclose(batch[2], y, rtol=1e-12, atol=1e-12)


def test_constant_columns_say_nothing_and_constant_outcomes_stay():
    features = jnp.stack([jnp.full(20, 1234.567), jnp.arange(20.0)], 1)
    units = Scaling.of(features, jnp.full(20, 7.1))
    new = units.features(jnp.array([[9999.0, 9.5]]))
    np.testing.assert_allclose(new, [[0, 0]], atol=1e-6)
    np.testing.assert_allclose(units.outcomes(jnp.array([7.1, 9.1])), [0, 2], rtol=1e-6)
    assert float(units.undo(jnp.zeros(()))) == np.float32(7.1)
