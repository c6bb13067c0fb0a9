"""Tables of the error and coverage of quantiles against known information."""

import itertools

import numpy as np

from estimators.information._mist._network import MEDIAN, covers

EDGES = (32, 64, 128, 256, 400, 513, 1025, 2049, 4097)  # of numbers of rows


def error_table(quantiles, information, baseline, count, columns, law, laws) -> str:
    """Markdown: mean absolute error beside the Gaussian copula's, and coverage of 90 %.

    By numbers of rows, by columns on the wider side, and by law, of which `laws` are the functions;
    each with its standard error.
    """
    value = quantiles[:, MEDIAN]
    error, copula = np.abs(value - information), np.abs(np.maximum(baseline, 0) - information)
    covered = covers(quantiles, information)
    wider = columns.max(1)
    groups = [("all", np.ones(len(error), bool))]
    groups += [
        (f"n {a} to {b - 1}", (count >= a) & (count < b)) for a, b in itertools.pairwise(EDGES)
    ]
    groups += [
        (f"columns {a} to {b}" if a < b else f"columns {a}", (wider >= a) & (wider <= b))
        for a, b in ((1, 1), (2, 2), (3, 5), (6, 16))
    ]
    groups += [(f.__name__, law == i) for i, f in enumerate(laws)]
    groups.append(("independent", information == 0))
    lines = [
        "| data sets | number | mean absolute error, nats | of the Gaussian copula | bias "
        "| coverage of 90 % |",
        "|---|---|---|---|---|---|",
    ]
    for name, chosen in groups:
        size = chosen.sum()
        if size < 2:
            continue
        own = error[chosen]
        share = covered[chosen].mean()
        lines.append(
            f"| {name} | {size} | {own.mean():.4f} ± {own.std() / size**0.5:.4f} | "
            f"{copula[chosen].mean():.4f} | {(value - information)[chosen].mean():+.4f} | "
            f"{share:.3f} ± {(share * (1 - share) / size) ** 0.5:.3f} |"
        )
    return "\n".join(lines)
