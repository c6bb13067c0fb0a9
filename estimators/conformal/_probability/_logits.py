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
        several: whether there may be more than two classes.
    """

    check: Callable[..., Array]
    features: Callable[..., Array]
    constrained: tuple[bool, ...]
    several: bool = False


def _finite(name: str, scores) -> Float[Array, "..."]:
    return checks.finite(name, checks.as_float(name, scores))


def _beta_features(probability):
    eps = jnp.finfo(probability.dtype).eps
    probability = jnp.clip(probability, eps, 1 - eps)
    terms = jnp.log(probability), -jnp.log1p(-probability), jnp.ones_like(probability)
    return jnp.stack(terms, -1)


KINDS = {
    "temperature": Kind(_finite, lambda s: s[..., None], (True,), several=True),
    "platt": Kind(_finite, lambda s: jnp.stack([s, jnp.ones_like(s)], -1), (False, False)),
    "beta": Kind(checks.as_unit, _beta_features, (True, True, False)),
}


class CalibratedLogits(Fitted):
    """Coefficients of logits; see `TemperatureScaling`, `PlattScaling`, `BetaScaling`.

    Attributes:
        coefficients: one over the temperature; slope and intercept; a, b and c.
        log_loss: mean log loss of the calibration rows with them, nats.
        kind: "temperature", "platt" or "beta".
        columns: 1 where a row has one score, of class 1; else the number of classes.
    """

    coefficients: Float[Array, " p"]
    log_loss: Float[Array, ""]
    kind: str = eqx.field(static=True)
    columns: int = eqx.field(static=True)

    def probability(self, scores: Real[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Probabilities of class 1, or of each class, in the shape of the scores.

        Raises:
            ValueError: for scores of another kind than in calibration.
        """
        scores = KINDS[self.kind].check("scores", scores).astype(self.coefficients.dtype)
        if self.columns > 1 and scores.shape[-1:] != (self.columns,):
            raise ValueError(
                f"scores must have shape (*batch, {self.columns}); got shape {scores.shape}"
            )
        return _probability(self.coefficients, scores, self.kind, self.columns)


@eqx.filter_jit
def _probability(coefficients, scores, kind: str, columns: int):
    logits = product(KINDS[kind].features(scores), coefficients[:, None])[..., 0]
    return jax.nn.softmax(logits, -1) if columns > 1 else jax.nn.sigmoid(logits)


@eqx.filter_jit
def fit_logits(scores, labels, kind: str) -> CalibratedLogits:
    """The coefficients of least log loss, for scores `(n,)` or `(n, classes)`."""
    features = KINDS[kind].features(scores)
    if scores.ndim == 1:  # two classes: the logit of the first is 0
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
    width = scores.shape[1] if scores.ndim == 2 else 1
    fitted = CalibratedLogits(found[best], losses[best], kind, width)
    return checks.poison(fitted, jnp.isfinite(losses[best]))
