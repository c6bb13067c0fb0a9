"""How much more probable each class is among new rows, from predictions for them alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import checks
from estimators.conformal._classification._probabilities import as_labels, as_table, is_law


def label_shift_weights(
    probabilities: Real[ArrayLike, "n K"],
    labels: Int[ArrayLike, " n"],
    new_probabilities: Real[ArrayLike, "m K"],
) -> Float[Array, " K"]:
    """The ratio of each class's probability in new rows to that in labelled ones.

    New rows need no labels. With the confusion matrix C of the predicted class (the most
    probable one), and how often each is predicted for new rows, mu,

        w = C^{-1} mu,    C_ij = mean 1{predicted i, labelled j},    mu_i = mean 1{predicted i},

    negative entries then 0, in a unit where the mean over labelled rows is one.

    Args:
        probabilities: `(n, K)`, predicted for labelled rows that the model has not seen. For a
            clean guarantee they are not those of the calibration.
        labels: `(n,)`, their classes, 0 to K - 1.
        new_probabilities: `(m, K)`, predicted for rows of the new law.

    Returns:
        `(K,)`, for `ConformalClassification.calibrate(label_weights=...)`.

    Raises:
        ValueError: for rows that are no probabilities, a class without a labelled row, or a
            confusion matrix that cannot be inverted. Inside jit these give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> rows = jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> labels, new = jnp.array([0, 1]), jnp.array([0, 1, 1, 1])
        >>> print(conformal.label_shift_weights(rows, labels, rows[new]))
        [0.5 1.5]

    Reference: Lipton, Wang & Smola 2018, Detecting and correcting for label shift with black box
    predictors, section 4.

    When it fails: where the features of a class change as well, the weights mean nothing. A model
    that hardly tells classes apart has a confusion matrix that is nearly singular, and weights
    that are noise.
    """
    known = as_table("probabilities", probabilities)
    n, classes = known.shape
    labels = as_labels("labels", labels, (n,), classes)
    new = as_table("new_probabilities", new_probabilities)
    if new.shape[1] != classes:
        raise ValueError(
            f"new_probabilities must have {classes} columns, as probabilities; got {new.shape}"
        )
    if checks.is_concrete(labels):
        sizes = np.bincount(np.asarray(labels), minlength=classes)
        if not sizes.all():
            raise ValueError(
                f"labels must have a row of every class; class {int(np.argmin(sizes))} has none "
                f"({int((sizes == 0).sum())} of {classes})"
            )
    weights = _weights(known, labels, new)
    if checks.is_concrete(weights) and not checks.holds(lambda w: jnp.isfinite(w).all(), weights):
        raise ValueError(
            "probabilities must tell the classes apart: the confusion matrix of the predicted "
            "class has no inverse"
        )
    return weights


@jax.jit
def _weights(known, labels, new):
    classes = known.shape[1]

    def share(cells, count):
        return jnp.bincount(cells, length=count).astype(known.dtype) / cells.shape[0]

    predicted = jnp.argmax(known, -1)
    confusion = share(predicted * classes + labels, classes**2).reshape(classes, classes)
    weights = jnp.linalg.solve(confusion, share(jnp.argmax(new, -1), classes))
    # A matrix without an inverse may be told by rounding alone.
    singular = jnp.linalg.cond(confusion) > 1 / (classes * jnp.finfo(known.dtype).eps)
    weights = jnp.maximum(weights, 0)
    valid = is_law(known).all() & is_law(new).all() & (labels >= 0).all() & ~singular
    mean = jnp.sum(confusion @ weights)
    return checks.poison(weights / mean, valid & (mean > 0))
