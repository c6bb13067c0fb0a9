"""Logits with few coefficients, by maximum likelihood: what temperature, Platt and beta share.

A kind of calibrator says which features a row has for each class; its logits are their product
with the coefficients. The mean log loss is convex in these, also where some must not be negative.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, checks, product
from estimators.conformal._newton import newton


class Kind(NamedTuple):
    """A calibrator of logits.

    Attributes:
        check: refuses scores that the features cannot be made of.
        features: `(..., p)` of scores, of class 1 against 0; or of each class, before the last.
        constrained: which coefficients must not be negative.
        intercept: whether the last feature is 1, so that the others can be centred.
        several: whether there may be more than two classes.
    """

    check: Callable[..., Array]
    features: Callable[..., Array]
    constrained: tuple[bool, ...]
    intercept: bool
    several: bool = False


def _finite(name: str, scores) -> Float[Array, "..."]:
    return checks.finite(name, checks.as_float(name, scores))


def _beta_features(probability):
    eps = jnp.finfo(probability.dtype).eps
    probability = jnp.clip(probability, eps, 1 - eps)
    terms = jnp.log(probability), -jnp.log1p(-probability), jnp.ones_like(probability)
    return jnp.stack(terms, -1)


KINDS = {
    "temperature": Kind(_finite, lambda s: s[..., None], (True,), False, several=True),
    "platt": Kind(_finite, lambda s: jnp.stack([s, jnp.ones_like(s)], -1), (False, False), True),
    "beta": Kind(checks.as_unit, _beta_features, (True, True, False), True),
}


def _features(kind: str, scores, columns: int):
    # Logits of several classes mean their differences; so they do not cancel far from zero.
    return KINDS[kind].features(scores - scores.max(-1, keepdims=True) if columns > 1 else scores)


def _units(features, intercept: bool):
    """Centre of each feature and one over its size, 0 for one that is always at its centre.

    An intercept stays what it is, and alone allows that the others are moved.
    """
    rows = features.reshape(-1, features.shape[-1])
    first = rows[0] if intercept else jnp.zeros_like(rows[0])
    centre = first + jnp.mean(rows - first[None], 0) if intercept else first
    size = jnp.max(jnp.abs(rows - centre[None]), 0)
    moved = (jnp.arange(size.shape[0]) < size.shape[0] - 1) if intercept else size == size
    inverse = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0)
    return jnp.where(moved, centre, 0), jnp.where(moved, inverse, 1)


def _standardised(features, centre, inverse):
    beside = (1,) * (features.ndim - 1) + (-1,)
    return (features - centre.reshape(beside)) * inverse.reshape(beside)


class CalibratedLogits(Fitted):
    """Coefficients of logits; see `TemperatureScaling`, `PlattScaling`, `BetaScaling`.

    Attributes:
        standard: `(p,)`, coefficients of centred features of size one; an intercept is the last.
        centre: `(p,)`, what is subtracted from a feature, and
        inverse: `(p,)`, what it is multiplied with then.
        log_loss: mean log loss of the calibration rows with them, nats.
        kind: "temperature", "platt" or "beta".
        columns: 1 where a row has one score, of class 1; else the number of classes.
    """

    standard: Float[Array, " p"]
    centre: Float[Array, " p"]
    inverse: Float[Array, " p"]
    log_loss: Float[Array, ""]
    kind: str = eqx.field(static=True)
    columns: int = eqx.field(static=True)

    @property
    def coefficients(self) -> Float[Array, " p"]:
        """One over the temperature; slope and intercept; a, b and c."""
        own = self.standard * self.inverse
        moved = jnp.where(
            jnp.arange(own.shape[0]) == own.shape[0] - 1, jnp.sum(own * self.centre), 0
        )
        return own - moved

    def probability(self, scores: Real[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Probabilities of class 1, or of each class, in the shape of the scores.

        Raises:
            ValueError: for scores of another kind than in calibration.
        """
        scores = KINDS[self.kind].check("scores", scores).astype(self.standard.dtype)
        if self.columns > 1 and scores.shape[-1:] != (self.columns,):
            raise ValueError(
                f"scores must have shape (*batch, {self.columns}); got shape {scores.shape}"
            )
        return _probability(self, scores)


@eqx.filter_jit
def _probability(fitted: CalibratedLogits, scores):
    features = _features(fitted.kind, scores, fitted.columns)
    standard = _standardised(features, fitted.centre, fitted.inverse)
    logits = product(standard, fitted.standard[:, None])[..., 0]
    return jax.nn.softmax(logits, -1) if fitted.columns > 1 else jax.nn.sigmoid(logits)


@eqx.filter_jit
def fit_logits(scores, labels, kind: str) -> CalibratedLogits:
    """The coefficients of least log loss, for scores `(n,)` or `(n, classes)`."""
    columns = scores.shape[1] if scores.ndim == 2 else 1
    features = _features(kind, scores, columns)
    centre, inverse = _units(features, KINDS[kind].intercept)
    features = _standardised(features, centre, inverse)
    if columns == 1:  # two classes: the logit of the first is 0
        features = jnp.stack([jnp.zeros_like(features), features], 1)

    def loss(coefficients):
        logits = product(features, coefficients[:, None])[..., 0]
        chosen = jnp.sum(labels * logits, 1)
        return jnp.mean(jax.nn.logsumexp(logits, 1) - chosen)

    # The best of a convex function over non-negative coefficients is its best with some of
    # them at 0: of all such bests that are allowed, the lowest.
    constrained = jnp.asarray(KINDS[kind].constrained)
    free = [(0, 1) if at_least_zero else (1,) for at_least_zero in KINDS[kind].constrained]
    masks = jnp.asarray(list(itertools.product(*free)), scores.dtype)

    def best_of(mask):
        found = newton(lambda c: loss(c * mask), jnp.zeros_like(mask)) * mask
        allowed = jnp.all(~constrained | (found >= 0))
        return found, jnp.where(allowed, loss(found), jnp.inf)

    found, losses = jax.lax.map(best_of, masks)
    best = jnp.argmin(losses)
    fitted = CalibratedLogits(found[best], centre, inverse, losses[best], kind, columns)
    return checks.poison(fitted, jnp.isfinite(losses[best]))
