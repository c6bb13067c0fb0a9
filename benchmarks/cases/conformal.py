"""Conformal prediction beside MAPIE, crepes, puncc and TorchCP."""

import numpy as np

from benchmarks.cases import _intervals as intervals
from benchmarks.cases import _probabilities as probabilities
from benchmarks.harness.bounds import passes
from benchmarks.harness.case import Case, Contender, Growth

INTERVALS = "largest difference of an end; the noise is one"
SINGLE = 1e-5  # TorchCP narrows predictions to float32 on its way
RANKS = 0.05  # a rank apart, by rounding
SORT = "none: it is mostly a sort"
venn_abers = probabilities.our_probabilities("VennAbers", lambda found: found.merged)
isotonic = probabilities.our_probabilities("IsotonicScaling", lambda found: found)


def of_sets(library, prepare, dtype):
    """A contender whose sets are compared by their sizes."""
    return Contender(library, prepare, dtype, 2.5e-3, outcome=probabilities.set_sizes)


CASES = [
    Case(
        name="split conformal",
        work="One threshold from n calibration rows, and intervals of n new ones.",
        data=intervals.sizes_only,
        sizes=({"n": 100_000}, {"n": 1_000_000}),
        quick={"n": 500},
        contenders=(
            intervals.of_script("split", "estimators"),
            intervals.of_script("split", "numpy"),
            intervals.of_script("split", "MAPIE"),
            intervals.of_script("split", "crepes"),
            intervals.of_script("split", "puncc"),
            intervals.of_script("split", "TorchCP", tolerance=SINGLE),
            Contender("roofline", intervals.copied(2, 2)),
        ),
        bound="scores read once, intervals written once",
        compared=INTERVALS,
        growth=(Growth("n", (100_000, 200_000, 400_000, 800_000, 1_600_000), {}),),
    ),
    Case(
        name="conformalised quantile regression",
        work="The same for a pair of predicted quantiles.",
        data=intervals.sizes_only,
        sizes=({"n": 100_000},),
        quick={"n": 500},
        contenders=(
            intervals.of_script("quantile_regression", "estimators"),
            intervals.of_script("quantile_regression", "numpy"),
            intervals.of_script("quantile_regression", "MAPIE"),
            intervals.of_script("quantile_regression", "puncc"),
            intervals.of_script("quantile_regression", "TorchCP", tolerance=SINGLE),
            Contender("roofline", intervals.copied(3, 4)),
        ),
        bound="predictions read once, intervals written once",
        compared=INTERVALS,
    ),
    Case(
        name="thresholds by group",
        work="A threshold for each of 100 groups. Where ends differ, crepes takes the next rank.",
        data=intervals.sizes_only,
        sizes=({"n": 100_000},),
        quick={"n": 20_000},
        contenders=(
            intervals.of_script("mondrian", "estimators"),
            intervals.of_script("mondrian", "crepes", tolerance=RANKS),
        ),
        bound=SORT,
        compared=INTERVALS,
        growth=(Growth("n", (50_000, 100_000, 200_000, 400_000, 800_000), {}),),
    ),
    Case(
        name="p-values",
        work="P-values of n new scores among n.",
        data=intervals.rounded_scores,
        sizes=({"n": 10_000},),
        quick={"n": 200},
        contenders=(
            Contender("estimators", intervals.our_p_values),
            Contender("numpy", intervals.numpy_p_values, variant="sorted"),
            Contender("crepes", intervals.crepes_p_values),
        ),
        bound=SORT,
        compared="largest difference of a p-value",
    ),
    Case(
        name="weighted thresholds",
        work="A threshold for each of n new rows by its own weight, from n weighted scores.",
        data=intervals.sizes_only,
        sizes=({"n": 5_000},),
        quick={"n": 200},
        contenders=(
            intervals.of_script("weighted", "estimators", outcome=np.asarray),
            intervals.of_script(
                "weighted",
                "numpy",
                "n x m form (numpy)",
                variant="n x m form",
                outcome=np.asarray,
            ),
        ),
        bound=SORT,
        compared="largest difference of a threshold",
        growth=(Growth("n", (50_000, 100_000, 200_000, 400_000, 800_000), {}),),
    ),
    Case(
        name="CV+",
        work="Ten folds, n calibration and n new rows, predictions there already.",
        data=intervals.sizes_only,
        sizes=({"n": 5_000},),
        quick={"n": 200},
        contenders=(
            intervals.of_script("cross", "estimators"),
            intervals.of_script("cross", "numpy", "n x m form (numpy)", variant="n x m form"),
            intervals.of_script("cross", "MAPIE"),
        ),
        bound="none: the search is the algorithm's affair",
        compared=INTERVALS,
        growth=(Growth("n", (4_000, 8_000, 16_000, 32_000, 64_000), {}),),
    ),
    Case(
        name="jackknife+",
        work="n calibration and m new rows; each model is one number, fitted without one row.",
        data=intervals.shifted_fits,
        sizes=({"n": 1_000, "m": 1_000},),
        quick={"n": 50, "m": 20},
        contenders=(
            Contender("estimators", intervals.our_jackknife, outcome=intervals.ends),
            Contender("MAPIE", intervals.mapie_jackknife, outcome=intervals.ends),
        ),
        bound="none: the search is the algorithm's affair",
        compared=INTERVALS,
        growth=(Growth("n", (500, 1_000, 2_000, 4_000), {"m": 1_000}),),
    ),
    Case(
        name="adaptive prediction sets",
        work="Sets of classes without draws, calibrated on n rows, for n new ones.",
        data=probabilities.class_table,
        sizes=({"n": 5_000, "classes": 1_000},),
        quick={"n": 100, "classes": 10},
        contenders=(
            Contender(
                "estimators",
                probabilities.our_sets,
                "float32",
                2.5e-3,
                outcome=probabilities.set_sizes,
            ),
            Contender(
                "MAPIE",
                probabilities.mapie_sets,
                "float64",
                2.5e-3,
                outcome=probabilities.set_sizes,
            ),
            Contender(
                "TorchCP",
                probabilities.torchcp_sets,
                "float32",
                2.5e-3,
                outcome=probabilities.set_sizes,
            ),
            Contender("roofline", passes("p"), "float32"),
        ),
        bound="the probabilities intervals.copied once",
        compared="largest difference of a set's size, as a share of the classes",
        growth=(
            Growth("n", (1_000, 2_000, 4_000, 8_000, 16_000), {"classes": 200}),
            Growth("classes", (50, 100, 200, 400, 800), {"n": 4_000}),
        ),
    ),
    Case(
        name="Venn-Abers",
        work="Two isotonic probabilities of each of m new scores, merged; scikit-learn refits.",
        data=probabilities.scored,
        sizes=({"n": 2_000, "m": 100},),
        quick={"n": 100, "m": 10},
        contenders=(
            Contender("estimators", venn_abers),
            Contender("MAPIE", probabilities.mapie_venn),
            Contender("scikit-learn", probabilities.refits, variant="refits"),
        ),
        bound=SORT,
        compared="largest difference of a probability",
        growth=(Growth("n", (20_000, 40_000, 80_000, 160_000, 320_000), {"m": 1_000}),),
    ),
    Case(
        name="Venn-Abers, many rows",
        work="The same; refits would take minutes.",
        data=probabilities.scored,
        sizes=({"n": 20_000, "m": 20_000},),
        quick={"n": 100, "m": 10},
        contenders=(
            Contender("estimators", venn_abers),
            Contender("MAPIE", probabilities.mapie_venn),
        ),
        bound=SORT,
        compared="largest difference of a probability",
    ),
    Case(
        name="isotonic probabilities",
        work="One isotonic regression of n labels, applied to m scores.",
        data=probabilities.scored,
        sizes=({"n": 100_000, "m": 100_000},),
        quick={"n": 100, "m": 10},
        contenders=(
            Contender("estimators", isotonic),
            Contender("scikit-learn", probabilities.scikit_learn_isotonic),
        ),
        bound=SORT,
        compared="largest difference of a probability",
    ),
]
