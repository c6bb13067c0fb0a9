"""Every estimator of the library against the contract of `estimators.testing`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow
from conformal_contract import ROWS as CONFORMAL
from draws import normal, pair

from estimators import conformal, density, information, quantile, score
from estimators.testing import CHECKS, Contract


def weighted(key, dtype):
    return (*normal(60, 2)(key, dtype), jax.random.uniform(key, (60,), dtype))


SIDE = np.arange(60) % 2  # of two groups, or folds
BAG = np.arange(30)[:, None] % 4 != np.arange(4)[None]


def labelled(key, dtype):
    label = jnp.arange(60, dtype=dtype)[:, None] % 3
    return label + jax.random.normal(key, (60, 2), dtype), label


def covariance(key, dtype):
    factor = jax.random.normal(key, (3, 3), dtype)
    return (factor @ factor.T + jnp.eye(3, dtype=dtype),)


def calibration(key, dtype):
    y, noise, width = (jax.random.normal(k, (40,), dtype) for k in jax.random.split(key, 3))
    return y + noise - jnp.abs(width), y + noise + jnp.abs(width), y


def forecasts(n):
    """Three models' quantiles at three levels, and what happened."""

    def draw(key, dtype):
        of_z, of_y = jax.random.split(key)
        z = jnp.sort(jax.random.normal(of_z, (n, 3, 3), dtype), -1)
        return z, jax.random.normal(of_y, (n,), dtype)

    return draw


def table(*kinds):
    """A table with one column of each kind asked for, dependent on one latent number."""

    def draw(key, dtype, n=60):
        of_latent, *keys = jax.random.split(key, 1 + len(kinds))
        latent = jax.random.normal(of_latent, (n,), dtype)
        columns = []
        for kind, of_noise in zip(kinds, keys, strict=True):
            mixed = latent + jax.random.normal(of_noise, (n,), dtype)
            if not kind.continuous:
                mixed = jnp.clip(jnp.floor(mixed + 0.5 * kind.levels), 0, kind.levels - 1)
            elif isinstance(kind, density.Bounded):
                mixed = kind.lower + 0.1 + 0.8 * jax.nn.sigmoid(mixed)
            columns.append(mixed)
        return (jnp.stack(columns, 1),)

    return draw


CONTINUOUS = (
    density.Real(),
    density.Bounded(0, 1),
    density.Bounded(lower=0),
    density.Bounded(0, 1, by="transform"),
    density.Periodic(8),
)
MIXED = (density.Real(), density.Categorical(3), density.Ordered(4))

LEVELS = jnp.array([0.1, 0.5, 0.9])
GAUSSIAN_IN_BLOCKS = {"estimator": information.CanonicalCorrelation(), "block": 3}

DENSITY = {
    "log_density": lambda fitted, x: fitted.log_density(x),
    "score": lambda fitted, x: fitted.score(x),
}

TABLE = [
    *(
        Contract(
            name=f"KDE({bandwidth!r})",
            data=normal(60, 2),
            fit=density.KDE(bandwidth).fit,
            inputs=normal(7, 2),
            methods=DENSITY,
            sample=lambda fitted, key: fitted.sample(5, key=key),
        )
        for bandwidth in ("scott", "silverman", "loo", 0.4, [0.4, 0.5], [[0.3, 0.1], [0.1, 0.2]])
    ),
    Contract(
        name="KDE(weights)",
        data=weighted,
        fit=density.KDE("loo", covariance="diagonal").fit,
        inputs=normal(7, 2),
        methods=DENSITY,
    ),
    *(
        Contract(
            name=f"KDE({', '.join(map(str, options.values()))})",
            data=normal(60, 2),
            fit=density.KDE(**options).fit,
            inputs=normal(7, 2),
            methods=DENSITY,
            sample=lambda fitted, key: fitted.sample(5, key=key),
        )
        for options in (
            {"covariance": "learned", "centres": "shrunken"},
            {"bandwidth": "scott", "widths": "nearest", "centres": "shrunken"},
            {"bandwidth": "loo", "kernel": density.Student(5.0)},
        )
    ),
    Contract(
        name="debias, mix_scales",
        data=weighted,
        fit=lambda points, weights: density.mix_scales(
            density.debias(density.KDE("scott").fit(points, weights))
        ),
        inputs=normal(7, 2),
        methods=DENSITY,
    ),
    *(
        Contract(
            name=f"ProductKDE({bandwidth!r}, {len(kinds)} columns)",
            data=table(*kinds),
            fit=density.ProductKDE(kinds, bandwidth=bandwidth).fit,
            inputs=lambda key, dtype, kinds=kinds: table(*kinds)(key, dtype, 7),
            methods={"log_density": lambda fitted, x: fitted.log_density(x)},
            differentiable=kinds is CONTINUOUS,  # a code has no neighbours
            sample=lambda fitted, key: fitted.sample(5, key=key),
        )
        for kinds, bandwidth in (
            (CONTINUOUS, "scott"),
            (CONTINUOUS, "loo"),
            (MIXED, "loo"),
            (MIXED, [0.4, 0.2, 0.3]),
        )
    ),
    Contract(
        name="approximate",
        data=normal(60, 2),
        fit=lambda points: density.approximate(
            density.KDE(0.4).fit(points), key=jax.random.key(0), points_per_cell=16
        ),
        inputs=normal(7, 2),
        methods={"log_density": lambda fitted, x: fitted.log_density(x).log_density},
        differentiable=False,  # it says so: the exact density is for derivatives
    ),
    Contract(
        name="stream",
        data=pair((40, 2), (30, 2)),
        fit=lambda first, then: density.stream(density.KDE(0.4).fit(first), capacity=60).update(
            then
        ),
        inputs=normal(7, 2),
        methods={"log_density": lambda latest, x: latest.fitted.log_density(x)},
    ),
    Contract(
        name="update",
        data=pair((40, 2), (30, 2)),
        fit=lambda first, then: density.update(density.KDE(0.4).fit(first), then),
        inputs=normal(7, 2),
        methods=DENSITY,
    ),
    Contract(
        name="regime",
        data=normal(60, 2),
        fit=density.KDE("scott").fit,
        inputs=normal(7, 2),
        methods={"regime": density.regime},
        differentiable=False,  # its code is a whole number
    ),
    *(
        Contract(
            name=name,
            data=normal(60, 3),
            fit=lambda points, change=change: change(density.KDE("scott").fit(points)),
            inputs=normal(7, d),
            methods=DENSITY,
            sample=lambda fitted, key: fitted.sample(5, key=key),
        )
        for name, d, change in (
            ("marginal", 2, lambda fitted: density.marginal(fitted, [2, 0])),
            (
                "conditional",
                1,
                lambda fitted: density.conditional(fitted, [2, 0], jnp.array([0.5, 0.1])),
            ),
        )
    ),
    Contract(
        name="cumulative_distribution, survival",
        data=normal(60, 1),
        fit=density.KDE("scott").fit,
        inputs=normal(7, 1),
        methods={
            "cumulative_distribution": density.cumulative_distribution,
            "survival": density.survival,
        },
    ),
    Contract(
        name="quantile",
        data=normal(60, 1),
        fit=density.KDE("scott").fit,
        inputs=lambda key, dtype: (jax.random.uniform(key, (7,), dtype, 0.01, 0.99),),
        methods={"quantile": density.quantile},
        refuses_shapes=False,
    ),
    Contract(
        # No method is compared: a key gives other draws in float64 than in float32.
        name="entropy, divergence",
        data=normal(60, 2),
        fit=density.KDE("scott").fit,
        methods={},
        sample=lambda p, key: jnp.stack(
            [
                density.entropy(p, key=key, samples=50).value,
                density.divergence(p, density.marginal(p, [1, 0]), key=key, samples=50).value,
            ]
        ),
    ),
    Contract(
        name="highest_density_region",
        data=normal(60, 2),
        fit=lambda points: density.highest_density_region(
            density.KDE("scott").fit(points), 0.8, key=jax.random.key(0), samples=50
        ),
        methods={},
        sample=lambda region, key: (
            density.highest_density_region(region.fitted, 0.8, key=key, samples=50).log_level
        ),
    ),
    Contract(
        name="improved_sheather_jones",
        inputs=normal(40, 1),
        methods={"bandwidth": lambda _, points: density.improved_sheather_jones(points)[0]},
        batched=False,
    ),
    *(
        Contract(
            name=name,
            data=normal(60, 3),
            fit=fit,
            inputs=normal(7, 3),
            methods={
                "score": lambda fitted, x: fitted.score(x, 0.5),
                "denoise": lambda fitted, x: fitted.denoise(x, 0.5),
                "log_density": lambda fitted, x: fitted.log_density(x, 0.5),
            },
            sample=lambda fitted, key: fitted.sample(5, 0.5, key=key),
        )
        for name, fit in (
            (
                "Mixture(2, 1)",
                lambda points: score.Mixture(2, 1, steps=5).fit(points, key=jax.random.key(0)),
            ),
            ("Empirical", score.Empirical().fit),
        )
    ),
    Contract(
        name="sample",
        data=normal(60, 3),
        fit=score.Gaussian().fit,
        inputs=normal(7, 3),
        methods={
            "UniPC": lambda fitted, x: (
                score.sample(fitted, x, score.edm_schedule(4), sampler=score.UniPC()).samples
            ),
        },
        sample=lambda fitted, key: (
            score.sample(
                fitted, jnp.ones((5, 3)), score.edm_schedule(4), sampler=score.Ancestral(), key=key
            ).samples
        ),
    ),
    *(
        Contract(
            name=f"Gaussian(rank={rank})",
            data=normal(60, 3),
            fit=score.Gaussian(rank).fit,
            inputs=normal(7, 3),
            methods={
                "score": lambda fitted, x: fitted.score(x, 0.5),
                "denoise": lambda fitted, x: fitted.denoise(x, 0.5),
                "log_density": lambda fitted, x: fitted.log_density(x, 0.5),
                "transport": lambda fitted, x: fitted.transport(x, 2.0, 0.1),
            },
        )
        for rank in (None, 1)
    ),
    Contract(
        name="SplitRegression",
        data=pair((40,), (40,)),
        fit=conformal.SplitRegression(0.9).calibrate,
        inputs=normal(7),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
    ),
    *(
        Contract(
            name=f"ConformalizedQuantileRegression(symmetric={symmetric})",
            data=calibration,
            fit=conformal.ConformalizedQuantileRegression(0.9, symmetric=symmetric).calibrate,
            inputs=lambda key, dtype: tuple(
                jax.random.normal(key, (7,), dtype) + shift for shift in (0.0, 3.0)
            ),
            methods={"interval": lambda fitted, lower, upper: fitted.interval(lower, upper)},
        )
        for symmetric in (True, False)
    ),
    *(
        Contract(
            name=type(spec).__name__,
            data=pair((60, 2), (60, 1)),
            fit=spec.estimate,
            methods={
                "value": lambda estimate: estimate.value,
                "interval": lambda estimate: estimate.interval(0.9),
            },
            batched=False,
            differentiable=False,  # through ranks and counts the derivative is zero or none
        )
        for spec in (information.KSG(neighbours=3), information.GaussianCopula())
    ),
    *(
        Contract(
            name=name,
            data=data,
            fit=spec.estimate,
            methods={
                "value": lambda estimate: estimate.value,
                "interval": lambda estimate: estimate.interval(0.9),
            },
            batched=False,
            differentiable=False,  # through ranks and counts the derivative is zero or none
        )
        for name, spec, data in (
            ("KSG(one column each)", information.KSG(neighbours=3), pair((700, 1), (700, 1))),
            ("KSG(algorithm=2)", information.KSG(3, algorithm=2), pair((60, 2), (60, 1))),
            ("MixtureKSG", information.MixtureKSG(), pair((60, 2), (60, 1))),
            ("Ross", information.Ross(), labelled),
            ("ConditionalKSG", information.ConditionalKSG(), pair((60, 2), (60, 1), (60, 1))),
            (
                "ConditionalGaussianCopula",
                information.ConditionalGaussianCopula(),
                pair((60, 2), (60, 1), (60, 1)),
            ),
            ("TotalCorrelationKSG", information.TotalCorrelationKSG(), normal(60, 3)),
            (
                "TotalCorrelationGaussianCopula",
                information.TotalCorrelationGaussianCopula(),
                normal(60, 3),
            ),
        )
    ),
    *(
        Contract(
            name=name,
            data=pair((60, dx), (60, 1)),
            fit=spec.estimate,
            methods={
                "value": lambda estimate: estimate.value,
                "interval": lambda estimate: estimate.interval(0.9),
            },
            batched=False,
            differentiable=False,  # those that have a derivative have a row of their own
        )
        for name, dx, spec in (
            ("CanonicalCorrelation", 2, information.CanonicalCorrelation()),
            ("Binned", 2, information.Binned()),
            ("Binned(equal_width)", 2, information.Binned(3, "equal_width")),
            ("AdaptiveBinned", 1, information.AdaptiveBinned()),
            ("KernelDensityPlugIn", 2, information.KernelDensityPlugIn(1.2)),
            ("Compressed", 3, information.Compressed(information.CanonicalCorrelation(), 2, 1)),
        )
    ),
    *(
        Contract(
            name=f"MIST({ranks!r})",
            data=pair((60, 2), (60, 1)),
            # Within the fit: its weights are read by those tests only that use them.
            fit=lambda x, y, ranks=ranks: information.MIST(ranks=ranks).estimate(x, y),
            methods={
                "value": lambda estimate: estimate.value,
                "interval": lambda estimate: estimate.interval(0.9),
            },
            batched=False,
            differentiable=False,  # in single precision; a test of its own has the derivative
        )
        for ranks in ("exact", "soft")
    ),
    Contract(
        name="information with a derivative",
        inputs=pair((25, 2), (25, 2)),
        methods={
            "kernel_density_plug_in": lambda _, x, y: information.kernel_density_plug_in(x, y),
            "canonical_correlations": lambda _, x, y: information.canonical_correlations(x, y),
            "value": lambda _, x, y: information.CanonicalCorrelation().estimate(x, y).value,
        },
        batched=False,
    ),
    *(
        Contract(
            name=interval.__name__,
            data=pair((60, 2), (60, 1)),
            fit=lambda x, y, f=interval: f(x, y, key=jax.random.key(0), **GAUSSIAN_IN_BLOCKS),
            methods={"interval": lambda found: (found.lower, found.upper, found.standard_error)},
            batched=False,
            differentiable=False,  # an order statistic
            sample=lambda found, key, f=interval: (
                f(
                    *pair((60, 2), (60, 1))(jax.random.key(0), jnp.float32),
                    key=key,
                    **GAUSSIAN_IN_BLOCKS,
                ).replicates
            ),
        )
        for interval in (information.subsampling_interval, information.bootstrap_interval)
    ),
    Contract(
        name="normal_scores",
        inputs=normal(30, 2),
        methods={"normal_scores": lambda _, x: information.normal_scores(x)},
        batched=False,
        differentiable=False,
    ),
    *(
        Contract(
            name=f"simulate.{name}",
            data=data,
            fit=make,
            methods={"information": lambda law: law.mutual_information},
            batched=False,
            differentiable=False,  # a method without inputs
            sample=lambda law, key: law.sample(key, 20)[1],
        )
        for name, data, make in (
            ("Normal", covariance, lambda c: information.simulate.Normal(c, dx=1)),
            ("Student", covariance, lambda c: information.simulate.Student(c, 3.0, dx=1)),
            (
                "AdditiveUniform",
                lambda key, dtype: (jax.random.uniform(key, (2,), dtype, 0.1, 1.0),),
                information.simulate.AdditiveUniform,
            ),
            (
                "Mixture",
                lambda key, dtype: (*normal(2, 3)(key, dtype), *covariance(key, dtype)),
                lambda means, c: information.simulate.Mixture(
                    jnp.ones(2, means.dtype), means, jnp.stack([c, 2 * c]), dx=1, draws=512
                ),
            ),
        )
    ),
    *(
        Contract(
            name=f"GlobalWeights({weights!r})",
            data=forecasts(40),
            fit=lambda z, y, w=weights: quantile.GlobalWeights(w, steps=20).fit(z, y, LEVELS),
            inputs=lambda key, dtype: forecasts(7)(key, dtype)[:1],
            methods={"combine": lambda fitted, z: fitted.combine(z)},
            traceable=False,
        )
        for weights in ("coarse", "medium", "fine")
    ),
    *(
        Contract(
            name=f"LocalWeights({weights!r})",
            data=forecasts(40),
            fit=lambda z, y, w=weights: quantile.LocalWeights(w, steps=5, width=4).fit(
                z, y, LEVELS, key=jax.random.key(0)
            ),
            inputs=lambda key, dtype: forecasts(7)(key, dtype)[:1],
            methods={"combine": lambda fitted, z: fitted.combine(z)},
            traceable=False,
        )
        for weights in ("medium", "product", "fine")
    ),
    Contract(
        name="QuantileRegressionAveraging()",
        data=forecasts(40),
        fit=lambda z, y: quantile.QuantileRegressionAveraging().fit(z, y, LEVELS),
        inputs=lambda key, dtype: forecasts(7)(key, dtype)[:1],
        methods={"combine": lambda fitted, z: fitted.combine(z)},
        traceable=False,
    ),
    Contract(
        name="ConformalQuantiles()",
        data=lambda key, dtype: (forecasts(40)(key, dtype)[0][:, 0], forecasts(40)(key, dtype)[1]),
        fit=lambda z, y: quantile.ConformalQuantiles().calibrate(z, y, LEVELS),
        inputs=lambda key, dtype: (forecasts(7)(key, dtype)[0][:, 0],),
        methods={"quantiles": lambda calibrated, z: calibrated.quantiles(z)},
    ),
    Contract(
        name="Average, Median",
        inputs=lambda key, dtype: forecasts(7)(key, dtype)[:1],
        methods={
            "average": lambda _, z: quantile.Average().combine(z),
            "median": lambda _, z: quantile.Median().combine(z),
        },
        refuses_shapes=False,
    ),
    Contract(
        name="trimmed mean, linear pool",
        inputs=lambda key, dtype: forecasts(7)(key, dtype)[:1],
        methods={
            "trimmed_mean": lambda _, z: quantile.TrimmedMean(1).combine(z),
            "linear_pool": lambda _, z: quantile.linear_pool(z, LEVELS),
        },
        refuses_nan=False,
        refuses_shapes=False,
    ),
    Contract(
        name="quantile scores",
        inputs=lambda key, dtype: (forecasts(7)(key, dtype)[1], forecasts(7)(key, dtype)[0][:, 0]),
        methods={
            "pinball_loss": lambda _, y, z: quantile.pinball_loss(y, z, LEVELS),
            "weighted_interval_score": lambda _, y, z: quantile.weighted_interval_score(
                y, z, LEVELS
            ),
        },
        refuses_nan=False,
    ),
    Contract(
        name="further quantile scores",
        inputs=lambda key, dtype: (forecasts(7)(key, dtype)[1], forecasts(7)(key, dtype)[0][:, 0]),
        methods={
            "interval_score_parts": lambda _, y, z: quantile.interval_score_parts(y, z, LEVELS),
            "crps_quantiles": lambda _, y, z: quantile.crps_quantiles(y, z, LEVELS),
            "crps_samples": lambda _, y, z: quantile.crps_samples(y, z),
        },
        refuses_nan=False,
    ),
    Contract(
        name="monotone levels",
        inputs=normal(7, 5),
        methods={
            "sort_levels": lambda _, z: quantile.sort_levels(z),
            "isotonic_levels": lambda _, z: quantile.isotonic_levels(z),
            "sweep_levels": lambda _, z: quantile.sweep_levels(z),
            "cumulative_levels": lambda _, z: quantile.cumulative_levels(z),
            "crossing_penalty": lambda _, z: quantile.crossing_penalty(
                z, [0.1, 0.3, 0.5, 0.7, 0.9]
            ),
        },
        refuses_nan=False,
        refuses_shapes=False,
    ),
    Contract(
        name="conformal_quantile",
        inputs=normal(40),
        methods={"quantile": lambda _, scores: conformal.conformal_quantile(scores, 0.9)},
        batched=False,
    ),
    Contract(
        name="conformal quantiles and p-values",
        inputs=normal(60),
        methods={
            "grouped": lambda _, s: conformal.grouped_conformal_quantiles(s, SIDE, 0.8, count=2),
            "weighted": lambda _, s: conformal.weighted_conformal_quantiles(
                s, 1.0 + jnp.arange(60), jnp.ones(4), 0.8
            ),
            "p-values": lambda _, s: conformal.conformal_p_values(s, s[:5]),
        },
        batched=False,
        differentiable=False,
    ),
    Contract(
        name="SplitRegression(two ends, groups, weights)",
        data=pair((60,), (60,)),
        fit=lambda predictions, y: conformal.SplitRegression(0.8, symmetric=False).calibrate(
            predictions, y, groups=SIDE, count=2, weights=1.0 + jnp.arange(60)
        ),
        inputs=normal(7),
        methods={
            "interval": lambda fitted, x: fitted.interval(
                x, groups=jnp.zeros(x.shape, int), weights=jnp.ones(x.shape)
            )
        },
    ),
    Contract(
        name="SplitRegression(points)",
        data=pair((60,), (60,), (60, 2)),
        fit=lambda predictions, y, points: conformal.SplitRegression(0.8).calibrate(
            predictions, y, points=points, bandwidth=1.0
        ),
        inputs=pair((7,), (7, 2)),
        methods={
            "interval": lambda fitted, x, points: fitted.interval(
                x, points=points, key=jax.random.key(0)
            )
        },
        batched=False,
        differentiable=False,
    ),
    *(
        Contract(
            name=f"LogisticRatio({squares})",
            data=pair((60, 2), (40, 2)),
            fit=conformal.LogisticRatio(squares, ridge=0.1).fit,
            inputs=normal(7, 2),
            methods={"ratio": lambda fitted, x: fitted.ratio(x)},
        )
        for squares in (True, False)
    ),
    Contract(
        name="CrossConformal",
        data=pair((60,), (60,)),
        fit=lambda held_out, y: conformal.CrossConformal(0.8).calibrate(held_out, y, SIDE),
        inputs=normal(7, 2),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
    ),
    Contract(
        name="CrossConformalQuantileRegression",
        data=calibration,
        fit=lambda lower, upper, y: conformal.CrossConformalQuantileRegression(0.8).calibrate(
            lower, upper, y, SIDE[:40]
        ),
        inputs=normal(7, 2),
        methods={"interval": lambda fitted, x: fitted.interval(x, x + 1)},
    ),
    Contract(
        name="JackknifeAfterBootstrap",
        data=pair((30, 4), (30,)),
        fit=lambda z, y: conformal.JackknifeAfterBootstrap(0.8).calibrate(z, y, BAG),
        inputs=normal(7, 4),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
    ),
    Contract(
        name="FullConformalRidge",
        data=pair((30, 2), (30,)),
        fit=conformal.FullConformalRidge(0.8).fit,
        inputs=normal(5, 2),
        methods={
            "interval": lambda fitted, x: fitted.interval(x),
            "p_value": lambda fitted, x: fitted.p_value(x, x[..., 0]),
        },
        differentiable=False,
    ),
    Contract(
        name="FullConformalNearestNeighbours",
        data=pair((30, 2), (30,)),
        fit=conformal.FullConformalNearestNeighbours(3, 0.8).fit,
        inputs=normal(5, 2),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
        differentiable=False,
    ),
    Contract(
        name="ConformalPredictiveSystem",
        data=pair((60,), (60,)),
        fit=conformal.ConformalPredictiveSystem(0.8).calibrate,
        inputs=pair((7,), (7,)),
        methods={"crps": lambda fitted, x, y: fitted.crps(x, y)},
    ),
    Contract(
        name="DistributionalConformal",
        data=lambda key, dtype: (
            jnp.sort(normal(60, 5)(key, dtype)[0], -1),
            normal(60)(jax.random.fold_in(key, 1), dtype)[0],
        ),
        fit=lambda z, y: conformal.DistributionalConformal(0.8).calibrate(
            z, [0.05, 0.25, 0.5, 0.75, 0.95], y
        ),
        inputs=lambda key, dtype: (jnp.sort(normal(7, 5)(key, dtype)[0], -1),),
        methods={"interval": lambda fitted, x: fitted.interval(x)},
    ),
    *(
        Contract(
            name=type(spec).__name__,
            inputs=lambda key, dtype: (jax.random.uniform(key, (40,), dtype),),
            methods={
                "lower": lambda _, scores, spec=spec: spec.calibrate(scores).lower,
                "upper": lambda _, scores, spec=spec: spec.calibrate(scores).upper,
            },
            batched=False,
        )
        for spec in (
            conformal.BatchQuantile(test=9, level=0.5, side="two-sided"),
            conformal.BatchQuantiles(test=9, positions=(3, 7)),
            conformal.BatchMean(4, 0.8, lower_bound=0.0, upper_bound=1.0, side="two-sided"),
            conformal.PartitionMean(4, 0.8, side="two-sided"),
        )
    ),
    *CONFORMAL,
]


# Rows that differ from one above by an option: with the tests that compile for minutes.
VARIANTS = {
    "TotalCorrelationGaussianCopula",
    "TotalCorrelationKSG",
    "ConditionalKSG",
    "MixtureKSG",
    "Ross",
    "AdaptiveBinned",
    "CanonicalCorrelation",
    "ProductKDE('loo', 3 columns)",
    "GlobalWeights('fine')",
    "stream",
    "regime",
    "cumulative_distribution, survival",
    "simulate.Mixture",
    "KDE(learned, shrunken)",
    "SplitRegression(two ends, groups, weights)",
    "ConditionalGaussianCopula",
    "ConformalQuantiles()",
    "improved_sheather_jones",
    "bootstrap_interval",
    "KernelDensityPlugIn",
    "highest_density_region",
    "CrossConformal",
    "approximate",
    "update",
    "subsampling_interval",
    "conditional",
    "debias, mix_scales",
    "KDE(weights)",
    "KSG(one column each)",
    "Gaussian(rank=1)",
    "GlobalWeights('coarse')",
    "KDE('scott')",
    "KDE('silverman')",
    "KDE(0.4)",
    "KDE([0.4, 0.5])",
    "KDE(scott, nearest, shrunken)",
    "KDE(loo, Student(degrees_of_freedom=weak_f32[]))",
    "ProductKDE('scott', 5 columns)",
    "ProductKDE('loo', 5 columns)",
    "ProductKDE([0.4, 0.2, 0.3], 3 columns)",
    "KSG(algorithm=2)",
    "Binned(equal_width)",
    "MIST('exact')",
    "MIST('soft')",
    "GlobalWeights('medium')",
    "LocalWeights('medium')",
    "LocalWeights('product')",
    "LocalWeights('fine')",
    "QuantileRegressionAveraging()",
    "SplitRegression(points)",
    "LogisticRatio(True)",
    "LogisticRatio(False)",
    "CrossConformalQuantileRegression",
    "JackknifeAfterBootstrap",
    "FullConformalRidge",
    "FullConformalNearestNeighbours",
    "ConformalPredictiveSystem",
    "DistributionalConformal",
    "BatchQuantile",
    "BatchQuantiles",
    "BatchMean",
    "PartitionMean",
    "trimmed mean, linear pool",
    "further quantile scores",
    *(row.name for row in CONFORMAL),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("row", slow.parameters(TABLE, VARIANTS, lambda row: row.name))
def test_contract(row, check):
    if not check(row):
        pytest.skip("does not apply to this row")
