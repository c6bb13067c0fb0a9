"""A temperature for each row, trained to tell right predictions from wrong ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators import training
from estimators._core import Fitted, Spec, Stored, checks, product
from estimators.conformal._venn._labels import as_labels

OPTIMISER = optax.adam(1e-2)
REACH = 3.0  # log temperatures lie between minus this and this


class TemperatureNetwork(Stored):
    """From standardised log-probabilities to a log temperature, by one hidden layer.

    Attributes:
        weights: `(top, width)`, of the hidden units.
        biases: `(width,)`, of the hidden units.
        outer: `(width,)`, weight of each in the log temperature.
        intercept: log temperature where none of them answers.
    """

    weights: Float[Array, "top width"]
    biases: Float[Array, " width"]
    outer: Float[Array, " width"]
    intercept: Float[Array, ""]

    def __call__(self, features: Float[Array, "n top"]) -> Float[Array, " n"]:
        """The temperature of each row."""
        hidden = jnp.tanh(product(features, self.weights) + self.biases[None])
        free = product(hidden, self.outer[:, None])[:, 0] + self.intercept
        return jnp.exp(REACH * jnp.tanh(free / REACH))


class CalibratedCorrectness(Fitted):
    """A network that gives temperatures; see `CorrectnessScaling`.

    Attributes:
        network: from features to a temperature.
        centre: `(top,)`, mean of each feature.
        inverse: `(top,)`, one over its standard deviation; 0 for one that is constant.
        info: how training went.
        classes: number of classes.
    """

    network: TemperatureNetwork
    centre: Float[Array, " top"]
    inverse: Float[Array, " top"]
    info: training.TrainingInfo
    classes: int = eqx.field(static=True)

    def temperature(self, logits: Real[ArrayLike, "*batch classes"]) -> Float[Array, "*batch"]:
        """The temperature of each row, `(*batch,)`."""
        logits = self._rows(logits)
        return self._temperatures(logits).reshape(logits.shape[:-1])

    def probability(
        self, logits: Real[ArrayLike, "*batch classes"]
    ) -> Float[Array, "*batch classes"]:
        """Probabilities, `(*batch, classes)`, in the order that the logits have.

        Raises:
            ValueError: for another number of classes, or logits that are not finite.
        """
        logits = self._rows(logits)
        return jax.nn.softmax(logits / self.temperature(logits)[..., None], -1)

    def _rows(self, logits):
        logits = checks.as_queries("logits", logits, self.classes)
        return logits.astype(self.centre.dtype)

    def _temperatures(self, logits):
        features = _features(logits.reshape(-1, self.classes), self.centre.shape[0])
        return self.network((features - self.centre[None]) * self.inverse[None])


class CorrectnessScaling(Spec):
    """Confidence that is high where predictions are right and low where they are wrong.

        mean of (max softmax(logits / T(x)) - 1{prediction is right})**2

    is minimised over a small network T that sees the largest log-probabilities of the row, in
    order. A loss that looks at correctness pulls confidence apart where the log loss does not:
    the log loss of a wrong row is lowered also by moving mass among the other classes. The order
    of classes, and with it the accuracy, stays, for T is positive, within exp(-3) and exp(3).

    The loss is that of the reference, where a network sees transformed copies of an image to
    judge correctness; that it sees the row's own sorted log-probabilities instead, so that nothing
    but logits is needed, is ours.

    Args:
        top: how many of the largest log-probabilities it sees.
        width: hidden units.
        steps: training steps of Adam, on all rows each.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import conformal
        >>> logits = 3 * jax.random.normal(jax.random.key(0), (400, 3))
        >>> labels = jax.random.categorical(jax.random.key(1), logits / 2)
        >>> spec = conformal.CorrectnessScaling(top=3, steps=50)
        >>> calibrated = spec.calibrate(logits, labels, key=jax.random.key(2))
        >>> bool(jnp.mean(calibrated.temperature(logits)) > 1)
        True

    Reference: Liu, Wang, Zou, Zou & Zheng 2025, Optimizing calibration by gaining aware of
    prediction correctness (arXiv 2404.13016).

    When it fails: with few calibration rows it learns them by heart; `TemperatureScaling` has
    one number to learn. What tells right from wrong may not be in the logits at all. Only the
    largest probability is trained, the others follow.
    """

    top: int = eqx.field(static=True, default=5)
    width: int = eqx.field(static=True, default=16, kw_only=True)
    steps: int = eqx.field(static=True, default=500, kw_only=True)

    def __check_init__(self):
        for name in ("top", "width", "steps"):
            checks.integer(name, getattr(self, name), at_least=1)

    def calibrate(
        self,
        logits: Real[ArrayLike, "n classes"],
        labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
        *,
        key: Key[Array, ""],
    ) -> CalibratedCorrectness:
        """Train on rows that the model has not seen. It runs on the host, not inside `jax.jit`.

        Args:
            logits: `(n, classes)`; the logs of probabilities will do.
            labels: `(n,)`, 0 to `classes - 1`.
            key: draws the network's first weights.

        Raises:
            ValueError: for shapes that differ, logits that are not finite, labels out of range
                or all of one class.
        """
        logits = checks.as_points("logits", logits)
        n, classes = logits.shape
        if classes < 2:
            raise ValueError(f"logits must have at least 2 columns; got shape {logits.shape}")
        columns = as_labels("labels", labels, n, classes, logits.dtype, distinct=2)
        chosen = jnp.argmax(logits, 1)[:, None]
        features = _features(logits, min(self.top, classes))
        centre, spread = jnp.mean(features, 0), jnp.std(features, 0)
        inverse = jnp.where(spread > 0, 1 / jnp.where(spread > 0, spread, 1), 0)
        data = {
            "features": (features - centre[None]) * inverse[None],
            "logits": logits,
            "right": jnp.take_along_axis(columns, chosen, 1)[:, 0],
        }
        start = _start(checks.as_key(key), features.shape[1], self.width, logits.dtype)
        result = training.minimise(
            _loss, start, data, key=key, steps=self.steps, optimiser=OPTIMISER
        )
        return CalibratedCorrectness(result.parameters, centre, inverse, result.info, classes)


def _features(logits: Float[Array, "n classes"], top: int) -> Float[Array, "n top"]:
    return jax.lax.top_k(jax.nn.log_softmax(logits, -1), top)[0]


def _start(key, top: int, width: int, dtype) -> TemperatureNetwork:
    # Drawn in 32 bits, so that a key draws the same weights in either precision.
    weights = jax.random.normal(key, (top, width), jnp.float32) / top**0.5
    # The first temperature is 1 everywhere.
    nothing = jnp.zeros(width, dtype)
    return TemperatureNetwork(weights.astype(dtype), nothing, nothing, nothing[0])


def _loss(network: TemperatureNetwork, data, key):
    logits = data["logits"] / network(data["features"])[:, None]
    confidence = jnp.exp(jnp.max(logits, 1) - jax.nn.logsumexp(logits, 1))
    return jnp.mean((confidence - data["right"]) ** 2)
