"""Held-out log-likelihood of KDE("auto") beside other rules and libraries, with its error.

    python benchmarks/density_accuracy.py [--laws NAME ...] [--tables FOLDER] [--json FILE]

Every estimator gets the same rows and is judged on the same fresh ones; a figure is the mean
over them of the difference to KDE("auto"), in nats a row, with the standard error of that
paired difference. Below zero the other is worse.

- Scott, Silverman: `density.KDE`, as in scipy.
- scikit-learn: `KernelDensity` on standardised columns, the bandwidth by `GridSearchCV` over
  twelve values in five folds, above 2000 rows eight values in three (one leaf: its tree is
  wrong in high dimension).
- statsmodels: `KDEMultivariate(bw="cv_ml")`, whole up to 1000 rows, above by its own
  `efficient` option on subsamples of 500 rows; stopped after `--limit` seconds, and not tried
  above 8 columns, where that never sufficed.

The laws have parameters of their own here, which nothing was developed on.
"""

import argparse
import json
import multiprocessing
import pathlib
import time
import warnings

import numpy as np

LIMIT = 15.0


def gaussian(generator, n, d):
    spread = np.linspace(0.5, 2.0, d)
    return generator.normal(size=(n, d)) * spread


def autoregression(generator, n, d):
    rows = generator.normal(size=(n, d))
    for k in range(1, d):
        rows[:, k] = 0.8 * rows[:, k - 1] + 0.6 * rows[:, k]
    return rows


def mixture(generator, n, d):
    law = np.random.default_rng(7001)
    centres, spreads = law.normal(size=(6, d)) * 1.8, law.uniform(0.3, 1.0, size=6)
    which = generator.integers(6, size=n)
    return centres[which] + generator.normal(size=(n, d)) * spreads[which, None]


def student(generator, n, d):
    return generator.normal(size=(n, d)) / np.sqrt(generator.chisquare(4, size=(n, 1)) / 4)


def manifold(generator, n, d):
    """A rolled-up sheet in d dimensions, with noise."""
    law = np.random.default_rng(7002)
    t, u = generator.uniform(1, 3, size=n), generator.uniform(-1, 1, size=n)
    sheet = np.stack([t * np.cos(3 * t), t * np.sin(3 * t), 2 * u, t * u], 1)
    return sheet @ law.normal(size=(4, d)) / 2 + 0.15 * generator.normal(size=(n, d))


LAWS = {f.__name__: f for f in (gaussian, autoregression, mixture, student, manifold)}


def table_rows(path, generator):
    """Continuous columns of a table, with ties spread over the gap to the next value.

    A column with fewer than 32 values has no density; one that the others determine (R^2 above
    .999) leaves none for the whole.
    """
    values = np.load(path)["data"].astype(float)
    keep = [k for k in range(values.shape[1]) if len(np.unique(values[:, k])) >= 32]
    values = values[:, keep]
    for k in range(values.shape[1]):
        gap = np.median(np.diff(np.unique(values[:, k])))
        values[:, k] += gap * generator.uniform(-0.5, 0.5, size=len(values))
    values = (values - values.mean(0)) / values.std(0)
    chosen = []
    for k in range(values.shape[1]):
        if chosen:
            others = values[:, chosen]
            left = values[:, k] - others @ np.linalg.lstsq(others, values[:, k], rcond=None)[0]
            if left.var() < 1e-3:
                continue
        chosen.append(k)
    return generator.permutation(values[:, chosen])


def by_library(bandwidth):
    def fit(train, fresh):
        from estimators import density

        fitted = density.KDE(bandwidth).fit(train.astype(np.float32))
        label = ""
        if fitted.info.selection is not None:
            label = fitted.info.selection.forms[int(fitted.info.selection.chosen)]
        return np.asarray(fitted.log_density(fresh.astype(np.float32)), float), label

    return fit


def by_scikit_learn(train, fresh):
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    mean, scale = train.mean(0), train.std(0)
    values, folds = (12, 5) if len(train) <= 2000 else (8, 3)
    grid = {"bandwidth": np.geomspace(0.05, 1.5, values)}
    search = GridSearchCV(KernelDensity(leaf_size=len(train)), grid, cv=folds)
    search.fit((train - mean) / scale)
    best = search.best_estimator_
    return best.score_samples((fresh - mean) / scale) - np.log(scale).sum(), ""


def _statsmodels(train, sender):
    warnings.simplefilter("ignore")
    from statsmodels.nonparametric.kernel_density import EstimatorSettings, KDEMultivariate

    settings = EstimatorSettings(efficient=len(train) > 1000, n_sub=500, n_res=2)
    kinds = "c" * train.shape[1]
    np.random.seed(0)  # noqa: NPY002 - its subsamples come from the global generator
    sender.send(KDEMultivariate(train, kinds, bw="cv_ml", defaults=settings).bw)


def by_statsmodels(train, fresh, limit):
    from estimators import density

    if train.shape[1] > 8:
        return None, "not tried"
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_statsmodels, args=(train, sender))
    process.start()
    finished = receiver.poll(limit)
    bandwidth = receiver.recv() if finished else None
    process.kill()
    process.join()
    if bandwidth is None:
        return None, f"not finished in {limit:.0f} s"
    fitted = density.KDE(np.abs(bandwidth).astype(np.float32)).fit(train.astype(np.float32))
    return np.asarray(fitted.log_density(fresh.astype(np.float32)), float), ""


def compare(name, train, fresh, limit):
    """One row of the table."""
    row = {"name": name, "n": len(train), "d": train.shape[1], "rows": len(fresh)}
    contenders = {
        "auto": by_library("auto"),
        "loo": by_library("loo"),
        "scott": by_library("scott"),
        "silverman": by_library("silverman"),
        "scikit-learn": by_scikit_learn,
        "statsmodels": lambda a, b: by_statsmodels(a, b, limit),
    }
    for key, fit in contenders.items():
        start = time.perf_counter()
        try:
            value, note = fit(train, fresh)
        except ImportError as error:
            value, note = None, f"skipped: {error}"
        row[key] = {"seconds": time.perf_counter() - start, "note": note}
        if key == "auto":
            ours = value
            row[key]["value"] = float(value.mean())
        elif value is not None:
            gap = value - ours
            row[key]["gap"] = float(gap.mean())
            row[key]["error"] = float(gap.std(ddof=1) / len(gap) ** 0.5)
    return row


def line(row):
    cells = []
    for key in ("loo", "scott", "silverman", "scikit-learn", "statsmodels"):
        cell = row[key]
        text = f"{cell['gap']:.3f} ± {cell['error']:.3f}" if "gap" in cell else "–"
        cells.append(text)
    own = f"{row['auto']['value']:.3f}"
    return (
        f"| {row['name']} | {row['n']} | {row['d']} | {own} | "
        + " | ".join(cells)
        + (f" | {row['auto']['note']} |")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laws", nargs="*", default=list(LAWS))
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--dimensions", nargs="*", type=int, default=[2, 4, 8, 16, 32])
    parser.add_argument("--tables", metavar="FOLDER", help="of .npz files with an array `data`")
    parser.add_argument("--names", nargs="*", help="only these tables")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for statsmodels")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    cases = [(law, n, d) for n in options.sizes for d in options.dimensions for law in options.laws]
    rows = []
    print("| law or table | n | d | auto | loo | Scott | Silverman | scikit-learn | statsmodels |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)

    def report(row):
        rows.append(row)
        print(line(row), flush=True)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))

    for law, n, d in cases:
        generator = np.random.default_rng([2026, n, d, list(LAWS).index(law)])
        train, fresh = LAWS[law](generator, n, d), LAWS[law](generator, 2000, d)
        report(compare(law, train, fresh, options.limit))
    for path in sorted(pathlib.Path(options.tables).glob("*.npz")) if options.tables else []:
        if options.names and path.stem not in options.names:
            continue
        rows_of = table_rows(path, np.random.default_rng(2026))
        held = min(2000, len(rows_of) // 3)
        train, fresh = rows_of[held : held + 5000], rows_of[:held]
        report(compare(path.stem, train, fresh, options.limit))


if __name__ == "__main__":
    main()
