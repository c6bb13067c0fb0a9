"""How dense is the distribution here, and can that number be believed?

    fitted = density.KDE(bandwidth="loo").fit(points)      # points (n, d)
    fitted.log_density(x)                                  # x (*batch, d) -> (*batch,)
    fitted.score(x)                                        # gradient of the log density
    fitted.sample(1000, key=jax.random.key(0))
    density.regime(fitted, x).label                        # 'classical', 'heavy-tailed', ...

`KDE` is the Gaussian kernel density estimator, exact and in O(block) memory; `regime` says
at each point whether the estimate is an average over many points or the echo of a few.
"""

from estimators.density._kde import KDE, FittedKDE, KDEInfo
from estimators.density._regime import REGIMES, Regime, regime

__all__ = ["KDE", "REGIMES", "FittedKDE", "KDEInfo", "Regime", "regime"]
