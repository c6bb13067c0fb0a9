"""Regions for outcomes of two columns: how large they are at one and the same coverage.

Ellipsoids and boxes about the predictions of a random forest, with covariance and scales of its
out-of-bag errors, beside regions from directional quantiles of a learned representation. Each
split draws rows for training (4000, and 500 to stop early: the forest gets both), calibration
(1000) and test (1000). Volumes are in products of the standard deviations of the training
outcomes; those of the last method are Monte-Carlo estimates on 200 test rows. Its defaults were
chosen on the first split of "banana" and "california"; the other tables had no part in that. No
covariance or scale of the forest depends on x.

Run: python benchmarks/multivariate.py FOLDER, with the folder of the tables (`name.npz`, an array
`data` with one row a sample). It prints a table of docs/conformal_benchmark.md (about 10 minutes on
2 cores; `--only banana` needs no folder; `--splits` for more or fewer; `--rows` keeps results in
a file).
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.ensemble import RandomForestRegressor

from estimators.conformal import (
    ConformalBox,
    ConformalEllipsoid,
    DirectionalQuantiles,
)

COVERAGE = 0.9
SIZES = {"training": 4000, "validation": 500, "calibration": 1000, "test": 1000}
MEASURED = 200
# Of each table the columns to be predicted, from all the others.
TABLES = {
    "banana": ("position along and across a curve that depends on x", ()),
    "california": ("longitude and latitude of a district", (0, 1)),
    "california value": ("house value and income of a district", (13, 7)),
    "protein": ("RMSD and F7 of a protein's model", (9, 6)),
    "bike": ("rentals in an hour and humidity", (18, 4)),
}


def banana(rng, n):
    """A noisy piece of a cosine whose frequency and height depend on x."""
    x = rng.uniform(0.8, 3.2, n)
    along = rng.uniform(-1, 1, n) * np.pi / x
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(-0.1, 0.1, n)
    across = (1 - np.cos(x * along)) / 2 + np.sin(x) + radius * np.sin(angle)
    return x[:, None], np.stack([along + radius * np.cos(angle), across], 1)


def split(name, seed, folder):
    """Features and outcomes of each part; outcomes in standard deviations of training."""
    rng, total = np.random.default_rng(seed), sum(SIZES.values())
    if name == "banana":
        x, y = banana(rng, total)
    else:
        data = np.load(Path(folder) / f"{name.split()[0]}.npz")["data"]
        data = data[rng.permutation(len(data))[:total]].astype(float)
        columns = list(TABLES[name][1])
        x, y = np.delete(data, columns, 1), data[:, columns]
    y = y / y[: SIZES["training"]].std(0)
    cuts = np.cumsum(list(SIZES.values()))[:-1]
    x, y = np.float32(x), np.float32(y)
    return dict(zip(SIZES, zip(np.split(x, cuts), np.split(y, cuts), strict=True), strict=True))


def about_forest(parts, seed):
    """Coverage and mean volume of ellipsoids and boxes about one forest."""
    x, y = (
        np.concatenate(both) for both in zip(parts["training"], parts["validation"], strict=True)
    )
    forest = RandomForestRegressor(
        200, min_samples_leaf=5, oob_score=True, random_state=seed, n_jobs=-1
    ).fit(x, y)
    errors = y - forest.oob_prediction_
    covariance, scale = np.cov(errors.T), errors.std(0)
    calibration, test = (
        (np.float32(forest.predict(parts[part][0])), parts[part][1])
        for part in ("calibration", "test")
    )
    specs = {"ellipsoid": (ConformalEllipsoid(COVERAGE), np.float32(covariance))}
    for method in ("scaled", "bonferroni", "copula"):
        specs[f"box, {method}"] = ConformalBox(COVERAGE, method=method), np.float32(scale)
    for method, (spec, shape) in specs.items():
        calibrated = spec.calibrate(*calibration, shape)
        yield method, calibrated.contains(*test), calibrated.volume(test[0])


def directional(parts, seed):
    """Coverage and mean volume of directional quantile regions."""
    of_fit, of_volume = jax.random.split(jax.random.key(seed))
    fitted = DirectionalQuantiles(COVERAGE).fit(
        *parts["training"], key=of_fit, validation=parts["validation"]
    )
    calibrated = fitted.calibrate(*parts["calibration"])
    x, y = parts["test"]
    volume, _ = calibrated.volume(x[:MEASURED], key=of_volume)
    yield "directional quantiles", calibrated.contains(x, y), volume


def measure(name, seed, folder):
    """One row a method: coverage of the test rows, and the mean volume."""
    parts = split(name, seed, folder)
    for methods in (about_forest, directional):
        for method, inside, volume in methods(parts, seed):
            numbers = float(jnp.mean(inside)), float(jnp.mean(volume))
            yield {"table": name, "seed": seed, "method": method, "numbers": numbers}


def show(rows):
    """The table: means over splits, standard errors, and volumes over that of the ellipsoid."""
    print("| outcomes | method | coverage | volume | over the ellipsoid |\n|---|---|---|---|---|")
    for name in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == name]
        found = {
            method: np.array([row["numbers"] for row in own if row["method"] == method])
            for method in dict.fromkeys(row["method"] for row in own)
        }
        for method, numbers in found.items():
            least = min(len(numbers), len(found["ellipsoid"]))
            ratio = numbers[:least, 1] / found["ellipsoid"][:least, 1]
            cells = [_mean(numbers[:, 0], 3), _mean(numbers[:, 1], 3), _mean(ratio, 2)]
            print("|", " | ".join([f"{name}: {TABLES[name][0]}", method, *cells]), "|")


def _mean(values, digits):
    if len(values) < 2:
        return f"{values.mean():.{digits}f}"
    error = values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.{digits}f} ± {error:.{digits}f}"


def main():
    """Measure what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--rows", type=Path, help="a file of results, which is continued")
    options = parser.parse_args()
    kept = options.rows is not None and options.rows.exists()
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if kept else []
    known = {(row["table"], row["seed"]) for row in rows}
    for seed in range(options.splits):
        for name in (name for name in options.only if (name, seed) not in known):
            new = list(measure(name, seed, options.folder))
            rows += new
            if options.rows is not None:
                with options.rows.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
    show(rows)


if __name__ == "__main__":
    main()
