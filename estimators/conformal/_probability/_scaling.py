"""Calibrators with one to three coefficients: temperature, Platt and beta scaling."""

from typing import ClassVar

from jaxtyping import ArrayLike, Bool, Int, Real

from estimators._core import Spec
from estimators.conformal._probability._logits import KINDS, CalibratedLogits, fit_logits
from estimators.conformal._venn._labels import as_labels


class LogitSpec(Spec):
    """What calibrators of logits have in common."""

    kind: ClassVar[str]

    def calibrate(
        self,
        scores: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
        labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    ) -> CalibratedLogits:
        """Fit the coefficients on rows that the model has not seen.

        Args:
            scores: `(n,)` for two classes, of class 1; `TemperatureScaling` also takes
                `(n, classes)`.
            labels: `(n,)`, 0 to `classes - 1`.

        Raises:
            ValueError: for shapes that differ, scores that are not finite or not what the kind
                needs, labels out of range or all of one class. Inside jit these give NaN, but
                for one class.
        """
        kind = KINDS[self.kind]
        checked = kind.check("scores", scores)
        if checked.ndim != 1 and not (kind.several and checked.ndim == 2 and checked.shape[1] > 1):
            either = "(n,) or (n, classes)" if kind.several else "(n,)"
            raise ValueError(f"scores must have shape {either}; got shape {checked.shape}")
        classes = checked.shape[1] if checked.ndim == 2 else 2
        columns = as_labels("labels", labels, checked.shape[0], classes, checked.dtype, distinct=2)
        return fit_logits(checked, columns, self.kind)


class TemperatureScaling(LogitSpec):
    """Logits divided by one number, the temperature (Guo et al. 2017).

        softmax(logits / T),    T of least log loss, positive

    The order of classes, and with it the accuracy, stays. One over T is `coefficients[0]`: the
    log loss is convex in it, and Newton steps find it to rounding. It is 0 where the logits
    are no better than none.

    Scores: logits, `(n,)` for two classes or `(n, classes)`; the logs of probabilities will do.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> logits, labels = jnp.array([3.0, 3.0, 3.0, -3.0]), jnp.array([1, 1, 0, 0])
        >>> calibrated = conformal.TemperatureScaling().calibrate(logits, labels)
        >>> print(f"{calibrated.probability(3.0):.3f}")
        0.750

    Reference: Guo, Pleiss, Sun & Weinberger 2017, On calibration of modern neural networks,
    section 4.2.

    When it fails: rows that need different temperatures get one. Where every calibration row is
    predicted right, no temperature is least, and the one that comes back is near 0.
    """

    kind = "temperature"


class PlattScaling(LogitSpec):
    """A logistic curve in one score, with slope and intercept (Platt 1999).

        1 / (1 + exp(-(a s + b)))

    by maximum likelihood, with the labels as they are.

    Scores: `(n,)`, in any unit.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, labels = jnp.array([0.0, 0.0, 1.0, 1.0, 1.0]), jnp.array([0, 1, 0, 1, 1])
        >>> calibrated = conformal.PlattScaling().calibrate(scores, labels)
        >>> print(f"{calibrated.probability(1.0):.3f}")
        0.667

    Reference: Platt 1999, Probabilistic outputs for support vector machines.

    When it fails: where probabilities are not a logistic curve of the score. Where scores
    separate the labels no slope is best, and the one that comes back is steep.
    """

    kind = "platt"


class BetaScaling(LogitSpec):
    """A probability through a curve of three coefficients, which can be the identity.

        logit q = a log p - b log(1 - p) + c,    a, b >= 0

    by maximum likelihood. It is the true curve where p has a beta law in each class. The two
    constraints keep it from falling; where one would be broken, its coefficient is 0 and the
    others are best with it so. Probabilities nearer to 0 or 1 than the rounding of their dtype
    count as that near.

    Scores: probabilities of class 1, `(n,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p, labels = jnp.array([0.1, 0.1, 0.1, 0.8, 0.8]), jnp.array([0, 0, 1, 1, 0])
        >>> calibrated = conformal.BetaScaling().calibrate(p, labels)
        >>> print(f"{calibrated.probability(0.1):.3f}")
        0.333

    Reference: Kull, Silva Filho & Flach 2017, Beta calibration, AISTATS.

    When it fails: as `PlattScaling`; with few rows near 0 and 1 the coefficients are loose.
    """

    kind = "beta"
