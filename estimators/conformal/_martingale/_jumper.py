"""The simple jumper: linear bets whose slope changes now and then."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Real

from estimators._core import checks
from estimators.conformal._martingale._betting import Betting


class SimpleJumper(Betting):
    """Linear bets `1 + s (p - 1/2)`, mixed over slopes s that change at random.

    The capital is shared out over the slopes. At each step a share J of it is spread evenly,
    and then each part is multiplied by its bet:

        C_s <- (1 - J) C_s + J mean(C),   C_s <- C_s (1 + s (p - 1/2))

    A negative slope gains from small p-values, a positive one from large ones. With several
    rates J it is the composite, the mean of their capitals. Log capitals and shares are kept
    apart, so that nothing overflows or is lost.

    Args:
        jump: the jumping rate J, in (0, 1), or several. A small one finds a change that lasts, a
            large one a change that goes back and forth.
        slopes: in [-2, 2].

    Raises:
        ValueError: for rates outside (0, 1) or slopes outside [-2, 2]. Inside jit they give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> test = conformal.ExchangeabilityTest(conformal.SimpleJumper(jump=0.01))
        >>> capital = jnp.exp(test.monitor(jnp.full(4, 0.1)).log_path)
        >>> print([f"{c:.3f}" for c in capital])
        ['1.000', '1.106', '1.316', '1.646']

    Reference: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson & Gammerman 2021, Retrain or not
    retrain: conformal test martingales for change-point detection, PMLR 152.

    When it fails: on p-values that gather about 1/2, or at both ends, without leaning to one
    side, there is nothing for a line to gain; see `HistogramBetting`.
    """

    jump: Real[Array, "*rates"] = eqx.field(
        default=(0.0001, 0.001, 0.01, 0.1), converter=functools.partial(checks.as_float, "jump")
    )
    slopes: Real[Array, " slopes"] = eqx.field(
        default=(-1.0, 0.0, 1.0), converter=functools.partial(checks.as_float, "slopes")
    )

    def __check_init__(self):
        if self.jump.ndim > 1:
            raise ValueError(f"jump must be one rate or (rates,); got shape {self.jump.shape}")
        checks.as_vector("slopes", self.slopes)
        _within("jump", self.jump, lambda j: (j > 0) & (j < 1), "strictly between 0 and 1")
        _within("slopes", self.slopes, lambda s: abs(s) <= 2, "between -2 and 2")

    def init(self, dtype):
        """Log shares of the rates, and shares of the slopes within each."""
        rates, slopes = self.jump.size, self.slopes.shape[0]
        log_rates = jnp.full(rates, -np.log(rates), dtype)
        return log_rates, jnp.full((rates, slopes), 1 / slopes, dtype)

    def update(self, state, p_value):
        """See `Betting`."""
        log_rates, shares = state
        jump = jnp.atleast_1d(self.jump).astype(shares.dtype)[:, None]
        jump = jnp.where((jump > 0) & (jump < 1), jump, jnp.nan)
        slopes = jnp.where(abs(self.slopes) <= 2, self.slopes, jnp.nan).astype(shares.dtype)
        bets = 1 + slopes * (p_value - 0.5)
        # Spread first: at the start the shares are even, and it changes nothing.
        parts = ((1 - jump) * shares + jump / slopes.shape[0]) * bets[None]
        gains = jnp.sum(parts, 1)
        grown = log_rates + jnp.log(gains)
        log_bet = jax.nn.logsumexp(grown)
        return (grown - log_bet, parts / gains[:, None]), log_bet


def _within(name, array, inside, bound):
    if checks.is_concrete(array) and not checks.holds(lambda a: inside(a).all(), array):
        values = np.asarray(array)
        raise ValueError(f"{name} must lie {bound}; got {values[~inside(values)][0]}")
