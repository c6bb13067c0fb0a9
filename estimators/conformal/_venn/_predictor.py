"""Venn predictors: label frequencies within the cells of a taxonomy."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from estimators._core import Fitted, Spec, checks
from estimators.conformal._grouped import as_groups, as_whole, known_groups
from estimators.conformal._venn._labels import as_labels
from estimators.conformal._venn._multiprobability import Multiprobability


class CalibratedVennPredictor(Fitted):
    """Label counts; see `VennPredictor`.

    Attributes:
        counts: `(groups, classes)`, calibration rows of each label in each group.
    """

    counts: Float[Array, "groups classes"]

    def probability(self, groups: Int[ArrayLike, "*batch"]) -> Multiprobability:
        """Bounds for each class, `(*batch, classes)`, of rows of these groups.

        Raises:
            ValueError: for a group that calibration did not have; inside jit its bounds are NaN.
        """
        shape = jnp.shape(groups)
        known = known_groups("groups", as_whole("groups", groups, shape), self.counts.shape[0])
        counts = self.counts.at[known].get(mode="fill", fill_value=jnp.nan)
        total = jnp.sum(counts, -1, keepdims=True) + 1
        of_it, mean = counts + 1, counts + 1 / self.counts.shape[1]
        return Multiprobability(counts / total, of_it / total, mean / total)


class VennPredictor(Spec):
    """Probabilities from label frequencies within groups, the new row counted among them.

    Of the N rows of the row's group N_c are of class c. Were its label c, the frequency would be
    `(N_c + 1) / (N + 1)`; were it another, `N_c / (N + 1)`. These are the two bounds; the mean
    over all labels that it might have, `(N_c + 1 / classes) / (N + 1)`, merges them.

    Args:
        classes: number of classes.

    Guarantee: for exchangeable rows, the distribution that belongs to the row's true label is
    calibrated without any error, for any taxonomy and sample size.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> groups, labels = jnp.array([0, 0, 0, 1, 1]), jnp.array([0, 0, 1, 1, 1])
        >>> found = conformal.VennPredictor(2).calibrate(groups, labels).probability(groups[:1])
        >>> print(found.lower, found.upper)
        [[0.5  0.25]] [[0.75 0.5 ]]

    Reference: Vovk, Gammerman & Shafer 2005, Algorithmic learning in a random world, chapter 6;
    the inductive form of Lambrou, Nouretdinov & Papadopoulos 2015.

    When it fails: groups that do not tell classes apart give the same frequencies everywhere;
    groups with few rows give bounds that are `1 / (N + 1)` apart. The group may depend on the
    features, by a rule that has not seen the labels of calibration.
    """

    classes: int = eqx.field(static=True)

    def __check_init__(self):
        checks.integer("classes", self.classes, at_least=2)

    def calibrate(
        self,
        groups: Int[ArrayLike, " n"],
        labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
        *,
        count: int | None = None,
    ) -> CalibratedVennPredictor:
        """Count labels on rows that the rule of the groups has not seen.

        Args:
            groups: `(n,)`, 0 to `count - 1`: a bin of the score, say, or the class predicted.
            labels: `(n,)`, 0 to `classes - 1`.
            count: number of groups; None takes the largest group and one more. It is needed
                inside `jax.jit`.

        Raises:
            ValueError: for shapes that differ, labels or groups out of range. Inside jit a label
                out of range gives NaN in its group, and a group out of range belongs to none.
        """
        rows = jnp.shape(groups)[:1]
        if rows == ():
            raise ValueError("groups must have shape (n,); got shape ()")
        groups, count = as_groups("groups", groups, rows[0], count)
        dtype = jnp.result_type(float)
        columns = as_labels("labels", labels, rows[0], self.classes, dtype)
        return CalibratedVennPredictor(jax.ops.segment_sum(columns, groups, count))
