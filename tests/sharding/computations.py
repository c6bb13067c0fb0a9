"""What is computed over meshes and over processes, and compared with one device.

Each takes `put`, which lays an array or a pytree of arrays out over the devices (or leaves it as it
is), and returns a pytree of arrays that are whole everywhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from estimators import conformal, density, information, score, sharding, training

ROWS = 1003


def rows(dtype, n=ROWS, seed=0):
    """Rows that are correlated, in unequal units and far from the origin; some occur twice."""
    noise = np.random.default_rng(seed).normal(size=(n, 3))
    noise[1:, 1] += 0.8 * noise[:-1, 0]
    noise[n // 2 : n // 2 + 20] = noise[:20]
    return (noise * [1.0, 5.0, 0.1] + [3.0, -20.0, 1.0]).astype(dtype)


def weights(dtype, n=ROWS):
    return np.random.default_rng(1).uniform(size=n).astype(dtype)


def whole(result):
    """Of `Rows` the array in its order."""
    return result.gather() if isinstance(result, sharding.Rows) else result


def density_by(bandwidth, weighted=True, **options):
    def compute(put, dtype):
        points = rows(dtype)
        weight = put(weights(dtype)) if weighted else None
        fitted = density.KDE(bandwidth, **options).fit(put(points), weight)
        asked = jnp.asarray(points[::100] + 0.1, dtype)
        return (
            fitted.log_density(asked),
            fitted.score(asked),
            whole(fitted.leave_one_out_log_density()),
            fitted.info.effective_sample_size,
            jnp.nan_to_num(fitted.info.factor),
        )

    return compute


def quantile(put, dtype):
    scores = rows(dtype)[:, 0]
    infinite = np.where(scores > 4, np.inf, scores)
    several = [conformal.conformal_quantile(put(scores), c) for c in (0.01, 0.5, 0.9, 0.9999)]
    return jnp.stack([*several, conformal.conformal_quantile(put(infinite), 0.8)])


def grouped_quantiles(put, dtype):
    table = rows(dtype)
    groups = (table[:, 1] > -20).astype(np.int32) + 2 * (table[:, 2] > 1.15)
    return conformal.grouped_conformal_quantiles(put(table[:, 0]), put(groups), 0.9, count=4)


def information_by(estimator, columns=2, label=False):
    def compute(put, dtype):
        table = rows(dtype, 403)
        x, y = table[:, :columns], table[:, 1:2] + 5 * table[:, :1]
        if label:
            y = (y > np.median(y)).astype(dtype)
        more = (put(table[:, 2:]),) if isinstance(estimator, information.ConditionalKSG) else ()
        if isinstance(estimator, information.TotalCorrelationKSG):
            estimate = estimator.estimate(put(table))
        else:
            estimate = estimator.estimate(put(x), put(y), *more)
        return estimate.value, estimate.standard_error

    return compute


def gaussian(spec, shape=(ROWS, 3), weighted=False):
    def compute(put, dtype):
        points = rows(dtype)
        if shape[1] > 3:
            points = np.random.default_rng(2).normal(size=shape).astype(dtype)
            points *= (1 + np.arange(shape[1], dtype=dtype)) ** -1.0
        fitted = spec.fit(put(points), put(weights(dtype)) if weighted else None)
        covariance = (fitted.basis * fitted.eigenvalues[None]) @ fitted.basis.T
        return fitted.mean, fitted.eigenvalues, fitted.floor, covariance[:8, :8]

    return compute


def mixture(put, dtype):
    points = rows(dtype)
    points[: ROWS // 3] += 12
    fitted = score.Mixture(2, rank=1).fit(put(points), key=jax.random.key(0))
    order = jnp.argsort(fitted.means[:, 0])
    return fitted.means[order], fitted.eigenvalues[order], fitted.info.log_likelihood


def squared_error(parameters, row, key):
    noise = 0.01 * jax.random.normal(key, (), row["y"].dtype)
    hidden = jnp.tanh(row["x"] @ parameters["in"])
    return jnp.where(row["kept"], (row["y"] - hidden @ parameters["out"] + noise) ** 2, 0)


OPTIMISER = optax.adam(1e-2)


def training_data(dtype):
    x = np.random.default_rng(3).normal(size=(203, 3)).astype(dtype)
    return {"x": x, "y": np.sin(x[:, 0]) + x[:, 1], "kept": x[:, 2] > -2}


def training_by(size, steps=20, **options):
    def compute(put, dtype):
        key = jax.random.key(0)
        start = {"in": jax.random.normal(key, (3, 8), dtype), "out": jnp.ones(8, dtype) / 8}
        data = put(jax.tree.map(jnp.asarray, training_data(dtype)))
        loss = training.mean_over_rows(squared_error, size)
        result = training.minimise(
            loss, start, data, key=key, steps=steps, optimiser=OPTIMISER, chunk=5, **options
        )
        return result.parameters, result.history.training

    return compute


COMPUTATIONS = {
    "density, numbers": density_by([0.5, 2.5, 0.05]),
    "density, a matrix": density_by(np.diag([0.2, 4.0, 0.01]).tolist()),
    "density, scott": density_by("scott", weighted=False),
    "density, loo": density_by("loo"),
    "density, loo, diagonal": density_by("loo", weighted=False, covariance="diagonal"),
    "density, exponential kernel": density_by("scott", kernel=density.Exponential()),
    "conformal quantile": quantile,
    "conformal quantiles, grouped": grouped_quantiles,
    "KSG": information_by(information.KSG()),
    "KSG, two columns": information_by(information.KSG(), columns=1),
    "KSG, algorithm 2": information_by(information.KSG(algorithm=2)),
    "KSG of mixtures": information_by(information.MixtureKSG()),
    "KSG, conditional": information_by(information.ConditionalKSG(), columns=1),
    "KSG, total correlation": information_by(information.TotalCorrelationKSG()),
    "Ross": information_by(information.Ross(), label=True),
    "Gaussian": gaussian(score.Gaussian(), weighted=True),
    "Gaussian, low rank": gaussian(score.Gaussian(1, shrinkage="ledoit-wolf")),
    "Gaussian, few rows": gaussian(score.Gaussian(4), (60, 150)),
    "Gaussian, subspace": gaussian(score.Gaussian(4), (203, 1030)),
    "mixture": mixture,
    "training": training_by(30),
    "training, all rows": training_by(None),
}
