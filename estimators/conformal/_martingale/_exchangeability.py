"""An alarm where a stream is no longer exchangeable: a martingale, or a chart made of one."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Spec, Stored, checks
from estimators.conformal._error_guarantee import ErrorGuarantee
from estimators.conformal._martingale._betting import Betting
from estimators.conformal._martingale._jumper import SimpleJumper
from estimators.conformal._martingale._stream import online_p_values

Statistic = Literal["martingale", "cusum", "shiryaev-roberts"]


class Evidence(Stored):
    """How evidence against exchangeability grew along a stream; see `ExchangeabilityTest`.

    Attributes:
        log_path: `(n,)`, the log of the statistic after each p-value, base e.
        p_values: `(n,)`.
        alarm: the first place, from 0, where the statistic reaches the threshold; -1 where it
            never does. The path goes on after it.
        spec: what was asked for.
    """

    log_path: Float[Array, " n"]
    p_values: Float[Array, " n"]
    alarm: Int[Array, ""]
    spec: "ExchangeabilityTest"

    @property
    def guarantee(self) -> ErrorGuarantee:
        """The bound on false alarms."""
        return self.spec.guarantee


class MonitorState(NamedTuple):
    """Where a test stands: the state of its betting, and the log of its statistic."""

    betting: Any
    log_statistic: Float[Array, ""]


class ExchangeabilityTest(Spec):
    """Watch a stream of scores, and give an alarm where it is no longer exchangeable.

    Each score gets a smoothed p-value by its rank among itself and those before
    (`online_p_values`). While the stream is exchangeable these are independent and uniform,
    and the capital M of a betting strategy is a martingale that starts at 1. Three statistics
    are made of its log bets, each in O(1) a row and in log scale:

        martingale        M_n,                         alarm for any change since the start
        cusum             max over i < n of M_n / M_i
        shiryaev-roberts  sum over i < n of M_n / M_i, both for a change at a time unknown

    Args:
        betting: `SimpleJumper` (by default, over several jumping rates), `PowerBetting`,
            `HistogramBetting`, or a `Betting` of your own.
        statistic: see above.
        threshold: what the statistic must reach, above 1; 20 for a false alarm with probability
            .05 at most. For the two charts take the mean time between false alarms that is
            put up with.

    Guarantee: "martingale" gives a false alarm, ever, with probability at most 1 / threshold
    (Ville's inequality). The mean time to a false alarm of "shiryaev-roberts" is at least
    `threshold`, since the statistic less n is a martingale; "cusum" is never above it, so its
    time is at least that too. All three hold for any stream length and any strategy.

    Raises:
        ValueError: for a threshold that is not above 1, or a statistic that is unknown.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jax.random.normal(jax.random.key(0), (400,))
        >>> changed = scores + 2 * (jnp.arange(400) >= 200)
        >>> test = conformal.ExchangeabilityTest(threshold=20.0)
        >>> for stream in (scores, changed):
        ...     print(test.run(stream, key=jax.random.key(1)).alarm)
        -1
        215

    Reference: Vovk, Gammerman & Shafer 2005, chapter 7; Vovk et al. 2021, Retrain or not
    retrain; Volkhonskiy, Burnaev, Nouretdinov, Gammerman & Vovk 2017 for the two charts on
    conformal martingales; Shiryaev 1963 and Roberts 1966.

    When it fails: p-values of rows against one fixed calibration set share it, and are not
    independent: a martingale on them drifts. A slow drift is found late, for the past that
    scores are ranked in drifts too. A score that does not see the change has no power.
    """

    betting: Betting = eqx.field(default_factory=SimpleJumper)
    statistic: Statistic = eqx.field(static=True, default="martingale", kw_only=True)
    threshold: float = eqx.field(static=True, default=20.0, kw_only=True)

    def __check_init__(self):
        checks.one_of("statistic", self.statistic, ("martingale", "cusum", "shiryaev-roberts"))
        checks.positive("threshold", self.threshold)
        if not self.threshold > 1:
            raise ValueError(f"threshold must be above 1; got {self.threshold}")

    @property
    def guarantee(self) -> ErrorGuarantee:
        """The bound on false alarms."""
        error = "the rate of false alarms, one over the mean time to the first,"
        if self.statistic == "martingale":
            error = "the probability of a false alarm, ever,"
        given = "scores that are exchangeable, of a model that has not seen them"
        return ErrorGuarantee(error, 1 / self.threshold, "the whole stream", given)

    def init(self, dtype=None) -> MonitorState:
        """The state before any p-value, for `update`."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        start = 0.0 if self.statistic == "martingale" else -jnp.inf
        return MonitorState(self.betting.init(dtype), jnp.asarray(start, dtype))

    def update(self, state: MonitorState, p_value: Real[ArrayLike, ""]) -> MonitorState:
        """The state after one more p-value; an alarm is due where it reaches `log(threshold)`.

        Raises:
            ValueError: for a p-value outside [0, 1] or NaN. Inside jit it gives NaN from then on.
        """
        p_value = checks.as_number("p_value", checks.as_unit("p_value", p_value))
        p_value = p_value.astype(state.log_statistic.dtype)
        betting, log_bet = self.betting.update(state.betting, p_value)
        before = state.log_statistic
        if self.statistic == "cusum":
            before = jnp.maximum(before, 0)
        elif self.statistic == "shiryaev-roberts":
            before = jnp.logaddexp(before, 0)
        return MonitorState(betting, before + log_bet)

    def monitor(self, p_values: Real[ArrayLike, " n"]) -> Evidence:
        """The statistic along p-values that are independent and uniform where nothing changed.

        Args:
            p_values: `(n,)`, in order of time, in [0, 1].

        Raises:
            ValueError: for p-values outside [0, 1], NaN, or a shape other than `(n,)`. Inside jit
                the path is NaN from such a p-value on.
        """
        p_values = checks.as_unit("p_values", p_values)
        if p_values.ndim != 1:
            raise ValueError(f"p_values must have shape (n,); got shape {p_values.shape}")
        log_path = _monitor(self, p_values)
        reached = log_path >= np.log(self.threshold)
        alarm = jnp.where(reached.any(), jnp.argmax(jnp.append(reached, True)), -1)
        return Evidence(log_path, p_values, alarm.astype(jnp.int32), self)

    def run(self, scores: Real[ArrayLike, " n"], *, key: Key[Array, ""]) -> Evidence:
        """`monitor` on the `online_p_values` of scores, `(n,)`, in order of time.

        Raises:
            ValueError: for a shape other than `(n,)` or NaN. Inside jit NaN makes the path NaN.
        """
        return self.monitor(online_p_values(scores, key=key))


@jax.jit
def _monitor(test: ExchangeabilityTest, p_values):
    def step(state, p_value):
        state = test.update(state, p_value)
        return state, state.log_statistic

    return jax.lax.scan(step, test.init(p_values.dtype), p_values)[1]
