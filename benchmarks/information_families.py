"""The learned estimator on redraws of MIST's own test families, beside the Gaussian copula and KSG.

    python benchmarks/information_families.py [--draws 20] [--weights FILE] [--json FILE]

Families "in" and "out of" the meta-distribution that MIST was trained on (Gritsai et al. 2025),
with their distributions of parameters, at most 16 columns a side and at least 100 rows. Mean
squared error in nats squared, with its standard error over laws; the variance of the truth is
beside it. The network here was trained on elliptical and additive laws with other parameters:
families are seen in kind, no parameter of theirs is used.
"""

import argparse
import json
import pathlib

import jax
import numpy as np

from estimators import information
from estimators.information import simulate

COLUMNS, ROWS = (2, 4, 8, 12, 16), (100, 250, 500)


def measure(options):
    """Squared errors: one record for each law and number of rows."""
    network = None
    if options.weights:
        from estimators.io import load

        network = load(options.weights)
    estimators = {
        "MIST": information.MIST(network),
        "Gaussian copula": information.GaussianCopula(),
        "KSG 5": information.KSG(5),
    }
    records = []
    for split in ("in_meta", "out_of_meta"):
        for f, (family, draw) in enumerate(simulate.mist_families(split).items()):
            for d in COLUMNS:
                for i in range(options.draws):
                    keys = jax.random.split(jax.random.fold_in(jax.random.key(1000 * f + d), i))
                    law = draw(keys[0], d)
                    truth = float(law.mutual_information)
                    n = ROWS[i % len(ROWS)]
                    x, y = law.sample(keys[1], n)
                    record = {"split": split, "family": family, "d": d, "n": n, "truth": truth}
                    for name, estimator in estimators.items():
                        estimate = estimator.estimate(x, y)
                        record[name] = float(estimate.value)
                        if name == "MIST":
                            low, high = estimate.interval(0.9)
                            record["covered"] = bool(low <= truth <= high)
                    records.append(record)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(records))
    return records, list(estimators)


def table(records, names):
    """Markdown, by split and family."""
    lines = ["| families | laws | variance | " + " | ".join(names) + " | 90 % covers |"]
    lines.append("|---" * (len(names) + 4) + "|")
    groups = {}
    for record in records:
        for group in ((record["split"], "all"), (record["split"], record["family"])):
            groups.setdefault(group, []).append(record)
    for (split, family), chosen in groups.items():
        truth = np.array([r["truth"] for r in chosen])
        cells = []
        for name in names:
            squares = (np.array([r[name] for r in chosen]) - truth) ** 2
            cells.append(f"{squares.mean():.3f} ± {squares.std() / len(squares) ** 0.5:.3f}")
        covered = np.mean([r["covered"] for r in chosen])
        row = [f"{split}: {family}", str(len(chosen)), f"{truth.var():.1f}", *cells]
        lines.append("| " + " | ".join([*row, f"{covered:.2f}"]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=21, help="laws of each family and dimension")
    parser.add_argument("--weights", metavar="FILE", help="of a network that is not shipped")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    print(table(*measure(options)))


if __name__ == "__main__":
    main()
