"""Conformal sets of classes."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int, Key, Real

from estimators._core import Spec, checks
from estimators.conformal._classification._calibrated import CalibratedClassification
from estimators.conformal._classification._clusters import clustered_thresholds
from estimators.conformal._classification._direct import LAC
from estimators.conformal._classification._label_thresholds import (
    class_thresholds,
    shift_thresholds,
)
from estimators.conformal._classification._probabilities import as_labels, as_table
from estimators.conformal._classification._score import LabelScore, scores_of_labels
from estimators.conformal._quantile import as_fraction
from estimators.conformal._thresholds import calibrated_thresholds

PER = ("all", "class", "cluster")


class ConformalClassification(Spec):
    """Sets of classes that hold the right one, from any classifier's probabilities.

    A set holds every label whose score is at most the conformal quantile of the scores that the
    right labels of the calibration rows have.

    Args:
        coverage: probability that the set must hold the class, in (0, 1).
        score: `LAC`, `Margin`, `TopK`, `APS`, `RAPS` or `SAPS`, the last three with options.
        never_empty: whether the most probable label (all, where several are) joins a set that
            would be empty. It covers no less.

    Guarantee: for exchangeable rows, and probabilities of a model that saw none of them, the
    class is in the set with probability at least `coverage`, over calibration and new rows
    together; however wrong the probabilities are. With `per="class"` this holds in each class,
    with `per="cluster"` in each cluster of classes, with groups in each group.
    `calibrated.guarantee` has it in numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> shares = 0.5 + jnp.arange(20) / 64
        >>> probabilities = jnp.stack([shares, 1 - shares], 1)
        >>> labels = (jnp.arange(20) < 2).astype(int)
        >>> spec = conformal.ConformalClassification(0.9)
        >>> calibrated = spec.calibrate(probabilities, labels)
        >>> print(calibrated.contains(jnp.array([[0.75, 0.25], [0.5, 0.5]])))
        [[ True False]
         [ True  True]]

    Reference: Vovk, Gammerman & Shafer 2005, section 4.5 for groups and classes; Ding,
    Angelopoulos, Bates, Jordan & Tibshirani 2023, Class-conditional conformal prediction with
    many classes, for clusters; Podkopaev & Ramdas 2021, Distribution-free uncertainty
    quantification for classification under label shift, for weights of labels.

    When it fails: one threshold for all covers on average, and rare or hard classes may be
    covered far less. A threshold for each class needs `calibration_size(coverage)` rows of it;
    a class that has fewer, or none, is in every set, and `reason` names it.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    score: LabelScore = eqx.field(default_factory=LAC)
    never_empty: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        if not isinstance(self.score, LabelScore):
            raise ValueError(f"score must be one such as LAC(); got {self.score!r:.60}")

    def calibrate(
        self,
        probabilities: Real[ArrayLike, "n K"],
        labels: Int[ArrayLike, " n"],
        *,
        groups: Int[ArrayLike, " n"] | None = None,
        count: int | None = None,
        weights: Real[ArrayLike, " n"] | None = None,
        label_weights: Real[ArrayLike, " K"] | None = None,
        per: Literal["all", "class", "cluster"] = "all",
        clusters: int | None = None,
        key: Key[Array, ""] | None = None,
    ) -> CalibratedClassification:
        """Choose thresholds on rows that the model has not seen.

        Args:
            probabilities: `(n, K)`, predicted; not negative, each row with the sum one, within
                0.01.
            labels: `(n,)`, the right classes, 0 to K - 1.
            groups: `(n,)`, whole numbers from 0: every group of rows gets its own threshold.
            count: number of groups; needed inside `jax.jit`.
            weights: `(n,)`, not negative: the ratio of the new rows' density to that of these
                rows, up to a factor, where the features have another law. With groups, within
                each.
            label_weights: `(K,)`, not negative: the ratio of each class's probability among new
                rows to that among these, up to a factor, where the classes have another law;
                known, or from `label_shift_weights`.
            per: "all", one threshold for all labels; "class", one for each, so that every class
                is covered by itself; "cluster", one for each cluster of classes whose scores are
                alike, found on a part of the rows. Classes too rare for a cluster have the
                threshold of all rows.
            clusters: how many, with `per="cluster"`; needed inside `jax.jit`, else None chooses
                by the number of rows.
            key: for a randomised score, and for clusters.

        Raises:
            ValueError: for rows that are no probabilities, labels that are no columns, or
                options that do not go together.
        """
        rows = as_table("probabilities", probabilities)
        n, classes = rows.shape
        labels = as_labels("labels", labels, (n,), classes)
        self._check(groups, count, weights, label_weights, per, clusters, key)
        draws = self.score.draws((n,), key if self.score.randomised else None, rows.dtype)
        scores = scores_of_labels(self.score, rows, labels, draws)
        coverage = as_fraction(self.coverage)
        if label_weights is not None:
            found = shift_thresholds(scores, labels, label_weights, classes, coverage)
        elif per == "class":
            found = class_thresholds(scores, labels, classes, coverage)
        elif per == "cluster":
            own = jax.random.fold_in(checks.as_key(key), 1)
            found = clustered_thresholds(scores, labels, classes, coverage, clusters, own)
        else:
            found = calibrated_thresholds(scores[:, None], coverage, groups, count, weights)
        score = jax.tree.map(jnp.asarray, self.score)
        return CalibratedClassification(found, score, self.coverage, self.never_empty, classes)

    def _check(self, groups, count, weights, label_weights, per, clusters, key):
        """Refuse what does not go together, or would be ignored."""
        checks.one_of("per", per, PER)
        if (of_rows := groups is not None or weights is not None) and per != "all":
            raise ValueError(f"groups and weights must not be given with per={per!r}")
        if label_weights is not None and (of_rows or per != "all"):
            raise ValueError("label_weights must not be given with groups, weights or per")
        if count is not None and groups is None:
            raise ValueError(f"count must come with groups; got {count} without them")
        if clusters is not None and per != "cluster":
            raise ValueError(f"clusters must come with per='cluster'; got {clusters} without it")
        drawn = self.score.randomised or per == "cluster"
        if (key is not None) != drawn:
            fault, kind = ("missing", "needs") if drawn else ("not used", "does not need")
            name = type(self.score).__name__
            raise ValueError(f"key is {fault}: the score {name} with per={per!r} {kind} one")
