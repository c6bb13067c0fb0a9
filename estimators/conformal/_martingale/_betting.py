"""What a strategy is that bets on the next p-value."""

import abc
from typing import Any

from jaxtyping import Array, Float

from estimators._core import Spec


class Betting(Spec):
    """A strategy that bets against p-values being uniform and independent.

    Before a p-value is seen it chooses a density on [0, 1] by the p-values before; the density
    at the p-value multiplies the capital. Where p-values are independent and uniform the
    capital is a martingale. Strategies of your own derive from this class.
    """

    @abc.abstractmethod
    def init(self, dtype) -> Any:
        """The state before any p-value: a pytree of arrays, floats in that dtype."""

    @abc.abstractmethod
    def update(self, state: Any, p_value: Float[Array, ""]) -> tuple[Any, Float[Array, ""]]:
        """The next state, and the log density at the p-value; NaN in, NaN out."""
