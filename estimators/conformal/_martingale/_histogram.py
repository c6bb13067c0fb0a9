"""Bets by the histogram of the p-values so far."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from estimators._core import checks
from estimators.conformal._martingale._betting import Betting


class HistogramBetting(Betting):
    """The density of a histogram of past p-values, as the bet on the next (plug-in betting).

        bins (count of the bin + prior) / (n + bins prior)

    It is the mixture over all histograms with a Dirichlet prior.

    Args:
        bins: how many, of equal width.
        prior: what is added to each count, positive. A larger one bets more carefully.

    Raises:
        ValueError: for fewer than 2 bins, or a prior that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> test = conformal.ExchangeabilityTest(conformal.HistogramBetting(bins=2))
        >>> capital = jnp.exp(test.monitor(jnp.array([0.1, 0.2, 0.9])).log_path)
        >>> print([f"{c:.2f}" for c in capital])
        ['1.00', '1.50', '0.50']

    Reference: Fedorova, Gammerman, Nouretdinov & Vovk 2012, Plug-in martingales for testing
    exchangeability on-line, ICML.

    When it fails: it learns by what it has seen, so about `bins log(n) / 2` nats of evidence
    are paid for that; it is slow on a change late in a long stream. Start it anew from time to
    time.
    """

    bins: int = eqx.field(static=True, default=10)
    prior: Real[ArrayLike, ""] = 0.5

    def __check_init__(self):
        checks.integer("bins", self.bins, at_least=2)
        checks.positive("prior", self.prior)

    def init(self, dtype):
        """The counts, and what the prior adds to them."""
        prior = jnp.asarray(self.prior, dtype)
        return jnp.full(self.bins, jnp.where(prior > 0, prior, jnp.nan))

    def update(self, state, p_value):
        """See `Betting`."""
        place = jnp.minimum(p_value * self.bins, self.bins - 1)
        known = ~jnp.isnan(place)
        own = jnp.arange(self.bins) == jnp.where(known, place, -1).astype(jnp.int32)
        share = jnp.sum(jnp.where(own, state, 0)) / jnp.sum(state)
        return state + own, jnp.log(jnp.where(known, self.bins * share, jnp.nan))
