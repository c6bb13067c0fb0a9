"""Whether a stream of rows is still exchangeable: martingales that bet against it."""

from estimators.conformal._martingale._betting import Betting
from estimators.conformal._martingale._exchangeability import Evidence, ExchangeabilityTest
from estimators.conformal._martingale._histogram import HistogramBetting
from estimators.conformal._martingale._jumper import SimpleJumper
from estimators.conformal._martingale._power import PowerBetting
from estimators.conformal._martingale._stream import online_p_values

__all__ = [
    "Betting",
    "Evidence",
    "ExchangeabilityTest",
    "HistogramBetting",
    "PowerBetting",
    "SimpleJumper",
    "online_p_values",
]
