"""How dense is the distribution here, and can that number be believed?

    fitted = density.KDE("auto").fit(points)               # points (n, d)
    fitted.log_density(x)                                  # x (*batch, d) -> (*batch,)
    fitted.score(x)                                        # gradient of the log density
    fitted.sample(1000, key=jax.random.key(0))
    density.regime(fitted, x).interval(0.95)               # where there is one, else its .reason

The estimate:

- `KDE`, exact and in O(block) memory: rules and learned bandwidths, kernels, widths, centres;
  `debias` and `mix_scales` change a fitted one, `"auto"` chooses by held-out likelihood;
- `ProductKDE`, for tables of mixed columns: a kernel for each kind (`Real`, `Bounded`,
  `Periodic`, `Categorical`, `Ordered`) and a bandwidth for each column.

What it is worth: `regime` says at each point whether it is an average over many points or the
echo of a few; `theory` has the formulas for normal data.

What can be asked of it: `marginal`, `conditional`, `cumulative_distribution`, `survival`,
`quantile`, `entropy`, `divergence`, `cross_entropy`, `highest_density_region`.

Many points: `approximate` sums to a stated error; `update` and `stream` add rows; `KDE.fit` takes
`sharding.Rows`, over many devices, and `sharding.Blocks`, larger than memory.
"""

from estimators.density import theory as theory  # a room of its own, with its own page
from estimators.density._blocks._fitted_blocks import FittedBlockKDE
from estimators.density._fast._approximate import (
    ApproximateKDE,
    ApproximateLogDensity,
    approximate,
)
from estimators.density._fast._stream import Stream, stream, update
from estimators.density._fitted import FittedKDE, KDEInfo
from estimators.density._forms._debias import debias
from estimators.density._forms._scales import mix_scales
from estimators.density._forms._selection import Selection
from estimators.density._kde import KDE
from estimators.density._kernels import (
    Epanechnikov,
    Exponential,
    Gaussian,
    Kernel,
    Student,
    TopHat,
)
from estimators.density._operations._divergence import cross_entropy, divergence, entropy
from estimators.density._operations._level_sets import HighestDensityRegion, highest_density_region
from estimators.density._operations._marginal import conditional, marginal
from estimators.density._operations._monte_carlo import MonteCarloEstimate
from estimators.density._operations._one_dimension import (
    cumulative_distribution,
    quantile,
    survival,
)
from estimators.density._product._codes import Categorical, Ordered
from estimators.density._product._columns import Bounded, Periodic, Real
from estimators.density._product._fitted_product import FittedProductKDE, ProductKDEInfo
from estimators.density._product._product import ProductKDE
from estimators.density._regime import REGIMES, Regime, regime
from estimators.density._sheather_jones import improved_sheather_jones

__all__ = [
    "KDE",
    "REGIMES",
    "ApproximateKDE",
    "ApproximateLogDensity",
    "Bounded",
    "Categorical",
    "Epanechnikov",
    "Exponential",
    "FittedBlockKDE",
    "FittedKDE",
    "FittedProductKDE",
    "Gaussian",
    "HighestDensityRegion",
    "KDEInfo",
    "Kernel",
    "MonteCarloEstimate",
    "Ordered",
    "Periodic",
    "ProductKDE",
    "ProductKDEInfo",
    "Real",
    "Regime",
    "Selection",
    "Stream",
    "Student",
    "TopHat",
    "approximate",
    "conditional",
    "cross_entropy",
    "cumulative_distribution",
    "debias",
    "divergence",
    "entropy",
    "highest_density_region",
    "improved_sheather_jones",
    "marginal",
    "mix_scales",
    "quantile",
    "regime",
    "stream",
    "survival",
    "update",
]
