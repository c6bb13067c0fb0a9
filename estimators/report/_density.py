"""How dense is the table, and can the number be believed?"""

import jax
import jax.numpy as jnp
import numpy as np

from estimators import density, score
from estimators.report._sample import Sample, draw
from estimators.report._study import Study, mean_and_error

MOST_FIT_ROWS = 40_000
MOST_HELD_OUT_ROWS = 2000
MOST_REGIME_ROWS = 500
ISOLATED = 5


def judge(study: Study) -> dict:
    """The density section: held-out likelihoods, the regime, the most isolated rows.

    All columns are standardised on the rows of the fit, so that log-likelihoods are in nats
    a row of standardised columns, comparable between tables.
    """
    sample = draw(study, "density", most_fit=MOST_FIT_ROWS, most_held_out=MOST_HELD_OUT_ROWS)
    train, test = sample.train, sample.held_out
    fitted = density.KDE("loo").fit(train)
    by_model = {
        "kernel density": np.asarray(fitted.log_density(test)),
        "Gaussian": np.asarray(score.Gaussian().fit(train).log_density(test, 1e-6)),
        "independent columns": np.asarray(_independent(train, test)),
    }
    likelihoods = [
        {"model": name, "log_likelihood": value, "standard_error": error}
        for name, (value, error) in ((n, mean_and_error(v)) for n, v in by_model.items())
    ]
    gap, gap_error = mean_and_error(by_model["kernel density"] - by_model["Gaussian"])
    dependence, dependence_error = mean_and_error(
        by_model["kernel density"] - by_model["independent columns"]
    )
    truth = None
    if sample.law is not None:
        truth = float(sample.law.log_density(np.asarray(test)).mean())

    regime = density.regime(fitted, test[:MOST_REGIME_ROWS])
    shares = {name: float(np.mean(regime.label == name)) for name in density.REGIMES}
    return {
        "columns": sample.columns,
        "left_out": sample.left_out,
        "rows_fitted": len(train),
        "rows_held_out": len(test),
        "bandwidth": float(fitted.info.factor),
        "scott": float(len(train) ** (-1 / (len(sample.columns) + 4))),
        "likelihoods": likelihoods,
        "truth_log_likelihood": truth,
        "over_gaussian": {"value": gap, "standard_error": gap_error},
        "over_independence": {"value": dependence, "standard_error": dependence_error},
        "regime": {
            "shares": shares,
            "effective_points": _quartiles(regime.effective_points),
            "stable_index": _quartiles(regime.stable_index),
        },
        "held_out_log_density": by_model["kernel density"].tolist(),
        "isolated": _isolated(study, sample, fitted),
        "statement": _statement(shares, gap, gap_error, len(sample.columns)),
    }


def _independent(points, x):
    """Sum over columns of one-dimensional leave-one-out kernel densities."""

    def column(total, pair):
        fitted = density.KDE("loo").fit(pair[0][:, None])
        return total + fitted.log_density(pair[1][:, None]), None

    return jax.jit(
        lambda points, x: jax.lax.scan(column, jnp.zeros_like(x[:, 0]), (points.T, x.T))[0]
    )(points, x)


def _isolated(study: Study, sample: Sample, fitted: density.FittedKDE) -> list[dict]:
    """The rows of lowest density given all the others that were fitted."""
    alone = np.asarray(fitted.leave_one_out_log_density())
    found = []
    for i in np.argsort(alone)[:ISOLATED]:
        row = np.asarray(sample.train[i])
        column = int(np.argmax(np.abs(row)))
        found.append(
            {
                "row": int(study.table.rows[sample.train_rows[i]]),
                "log_density": float(alone[i]) if np.isfinite(alone[i]) else None,
                "most_extreme_column": sample.columns[column],
                "standard_deviations": float(row[column]),
            }
        )
    return found


def _quartiles(values) -> list[float]:
    return [float(q) for q in np.quantile(np.asarray(values), [0.25, 0.5, 0.75])]


def _statement(shares: dict, gap: float, error: float, d: int) -> str:
    believed = shares["classical"]
    if believed >= 0.9:
        trust = f"The density can be believed: {believed:.0%} of held-out rows lie where it is "
        trust += "an average over many points."
    elif believed >= 0.5:
        trust = (
            f"The density can be believed at {believed:.0%} of held-out rows; at the others a "
            "few near points carry it."
        )
    else:
        trust = (
            f"The density is not to be believed at {1 - believed:.0%} of held-out rows: in {d} "
            "dimensions a few near points carry it there, and another sample would give another "
            "number."
        )
    if gap > 2 * error:
        shape = f"The kernel density beats a Gaussian by {gap:.2f} ± {error:.2f} nats a row."
    elif gap < -2 * error:
        shape = (
            f"A Gaussian beats the kernel density by {-gap:.2f} ± {error:.2f} nats a row: too "
            "few rows for this many dimensions, or data close to Gaussian."
        )
    else:
        shape = f"Kernel density and Gaussian are level ({gap:+.2f} ± {error:.2f} nats a row)."
    return f"{trust} {shape}"
