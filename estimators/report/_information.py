"""Which columns tell about which, and what correlation misses."""

import jax.numpy as jnp
import numpy as np
from scipy import stats

from estimators import information
from estimators.report._study import Skipped, Study

MOST_ROWS = 1000
MOST_COLUMNS = 25
FALSE_DISCOVERY_RATE = 0.05


def judge(study: Study) -> dict:
    """The information section: every pair's mutual information beside its correlation.

    Columns become normal scores, ties broken at random: mutual information is unchanged by
    it (also for columns of few values), and one permutation null serves all pairs.
    """
    table = study.table
    chosen = _columns(study)
    if len(chosen) < 2:
        raise Skipped("there is only one column")
    rows = np.arange(len(table.values))
    if not table.discrete.all():
        # Copies of a measured row are each other's nearest neighbours, and would read as
        # information; equal rows of counts are what there is to count.
        rows = np.unique(table.values, axis=0, return_index=True)[1]
    rows = np.sort(study.generator("information").permutation(rows)[:MOST_ROWS])
    data = table.values[rows][:, chosen]
    data = (data - data.mean(0)) / data.std(0)
    matrix = information.mutual_information_matrix(
        jnp.asarray(data),
        key=study.key("information"),
        permutations=_permutations(len(chosen)),
        false_discovery_rate=FALSE_DISCOVERY_RATE,
    )
    pearson = np.corrcoef(data.T)
    spearman = np.corrcoef(stats.rankdata(data, axis=0).T)
    quantile = stats.norm.ppf(0.5 + 0.5 * study.coverage)
    pairs = []
    for i in range(len(chosen)):
        for j in range(i + 1, len(chosen)):
            value, error = float(matrix.value[i, j]), float(matrix.standard_error[i, j])
            lower, upper = max(0.0, value - quantile * error), max(0.0, value + quantile * error)
            # What a Gaussian of this correlation would carry; the larger of the two gets the
            # credit. Correlation misses a pair where at least half is not explained by it.
            correlation = max(abs(pearson[i, j]), abs(spearman[i, j]))
            if correlation > 1 - 1e-9 and not table.discrete[[chosen[i], chosen[j]]].all():
                # One column is the other in other units: no finite number is right.
                value, error, lower, upper = np.inf, np.nan, np.inf, np.inf
            explained = float(-0.5 * np.log1p(-(min(correlation, 1 - 1e-9) ** 2)))
            discovered = bool(matrix.discovered[i, j])
            pairs.append(
                {
                    "first": table.columns[chosen[i]],
                    "second": table.columns[chosen[j]],
                    "information": value,
                    "standard_error": error,
                    "interval": [lower, upper],
                    "p_value": float(matrix.p_value[i, j]),
                    "discovered": discovered,
                    "pearson": float(pearson[i, j]),
                    "spearman": float(spearman[i, j]),
                    "missed_by_correlation": discovered
                    and bool(np.isfinite(lower) and lower > 2 * explained + 0.02),
                    "truth": None
                    if study.truth is None
                    else study.truth.mutual_information(chosen[i], chosen[j]),
                }
            )
    pairs.sort(key=lambda pair: -pair["information"])
    return {
        "columns": [table.columns[i] for i in chosen],
        "left_out": [name for i, name in enumerate(table.columns) if i not in chosen],
        "rows": len(data),
        "false_discovery_rate": FALSE_DISCOVERY_RATE,
        "permutations": _permutations(len(chosen)),
        "pairs": pairs,
        "statement": _statement(pairs),
    }


def _columns(study: Study) -> list[int]:
    """All columns, or the target and the first ones of a wide table."""
    chosen = list(range(len(study.table.columns)))[:MOST_COLUMNS]
    if study.target is not None and study.target not in chosen:
        chosen[-1] = study.target
    return chosen


def _permutations(columns: int) -> int:
    """Enough that the smallest p-value can pass Benjamini-Hochberg on its own."""
    pairs = columns * (columns - 1) // 2
    return int(max(999, np.ceil(2 * pairs / FALSE_DISCOVERY_RATE) - 1))


def _statement(pairs: list[dict]) -> str:
    found = [pair for pair in pairs if pair["discovered"]]
    missed = [pair for pair in pairs if pair["missed_by_correlation"]]
    if not found:
        return f"None of the {len(pairs)} pairs of columns is shown to be dependent."
    strongest = found[0]
    text = (
        f"{len(found)} of {len(pairs)} pairs are dependent (false discoveries at most "
        f"{FALSE_DISCOVERY_RATE:.0%} of them on average); the strongest is {strongest['first']} "
        f"with {strongest['second']}."
    )
    if missed:
        names = "; ".join(f"{p['first']} with {p['second']}" for p in missed[:3])
        return f"{text} Correlation misses more than half of {len(missed)}: {names}."
    return f"{text} Correlation misses none of them."
