"""How much do two variables tell about each other? Mutual information, in nats.

    information.MIST().estimate(x, y)              a network that has seen many laws
    information.KSG(neighbours=5).estimate(x, y)   any dependence, few columns
    information.GaussianCopula().estimate(x, y)    Gaussian copulas, many columns
    information.Ross().estimate(x, y)              y is a label
    information.MixtureKSG().estimate(x, y)        columns that are partly discrete
    information.CanonicalCorrelation().estimate(x, y)             linear dependence
    information.KernelDensityPlugIn().estimate(x, y)              with a derivative
    information.Binned().estimate(x, y), information.AdaptiveBinned().estimate(x, y)
    information.Compressed(information.KSG(), 2, 2).estimate(x, y)    dozens of columns

Of x and y where z is known, and of all the columns of one table:

    information.ConditionalKSG, information.ConditionalGaussianCopula              (x, y, z)
    information.TotalCorrelationKSG, information.TotalCorrelationGaussianCopula    (data)

All return an `Estimate` with a `value`, a `standard_error` and `.interval(coverage)`; `MIST` a
`QuantileEstimate`, and `adapt` trains it further on data of a user's own kind. The kernels (`ksg`,
`gaussian_copula`, ...) give the value alone. `normal_scores` turns any column, discrete ones
included, into one that they can work with.

An interval from subsamples asks nothing of the estimator but that it has a limit:

    information.subsampling_interval(x, y, key=key, estimator=information.KSG())
    information.bootstrap_interval      for smooth estimators, without neighbours

Whether there is a dependence at all is a question for a test, exact for every n:

    information.permutation_test(x, y, key=key)                 two variables of any width
    information.mutual_information_matrix(data, key=key)        all pairs of columns at once

Pairs of known information, to test on or to learn from, are in the room `simulate`.

`x` is `(n, dx)`, `y` is `(n, dy)`: rows are joint samples. Everything works under jit and vmap.
"""

from estimators.information import simulate as simulate  # a room of its own, with its own page
from estimators.information._compressed import Compressed
from estimators.information._estimate import Estimate, EstimateInfo
from estimators.information._gaussian._cca import CanonicalCorrelation, canonical_correlations
from estimators.information._gaussian._conditional_gaussian import (
    ConditionalGaussianCopula,
    conditional_gaussian_copula,
)
from estimators.information._gaussian._gaussian_copula import GaussianCopula, gaussian_copula
from estimators.information._gaussian._total_correlation_gaussian import (
    TotalCorrelationGaussianCopula,
    total_correlation_gaussian_copula,
)
from estimators.information._inference._matrix import (
    MutualInformationMatrix,
    mutual_information_matrix,
)
from estimators.information._inference._permutation import (
    PermutationTest,
    ksg_null,
    permutation_test,
)
from estimators.information._inference._resampling import (
    ResampledInterval,
    bootstrap_interval,
    subsampling_interval,
)
from estimators.information._mist import MIST, QuantileEstimate, adapt
from estimators.information._neighbours._conditional import ConditionalKSG, conditional_ksg
from estimators.information._neighbours._ksg import KSG, ksg
from estimators.information._neighbours._mixture_ksg import MixtureKSG, mixture_ksg
from estimators.information._neighbours._ross import Ross, ross
from estimators.information._neighbours._total_correlation import (
    TotalCorrelationKSG,
    total_correlation_ksg,
)
from estimators.information._neural._neural_bound import NeuralBound
from estimators.information._plug_in._adaptive import AdaptiveBinned, adaptive_binned
from estimators.information._plug_in._binned import Binned, binned
from estimators.information._plug_in._kde_plug_in import KernelDensityPlugIn, kernel_density_plug_in
from estimators.information._ranks import normal_scores

__all__ = [
    "KSG",
    "MIST",
    "AdaptiveBinned",
    "Binned",
    "CanonicalCorrelation",
    "Compressed",
    "ConditionalGaussianCopula",
    "ConditionalKSG",
    "Estimate",
    "EstimateInfo",
    "GaussianCopula",
    "KernelDensityPlugIn",
    "MixtureKSG",
    "MutualInformationMatrix",
    "NeuralBound",
    "PermutationTest",
    "QuantileEstimate",
    "ResampledInterval",
    "Ross",
    "TotalCorrelationGaussianCopula",
    "TotalCorrelationKSG",
    "adapt",
    "adaptive_binned",
    "binned",
    "bootstrap_interval",
    "canonical_correlations",
    "conditional_gaussian_copula",
    "conditional_ksg",
    "gaussian_copula",
    "kernel_density_plug_in",
    "ksg",
    "ksg_null",
    "mixture_ksg",
    "mutual_information_matrix",
    "normal_scores",
    "permutation_test",
    "ross",
    "subsampling_interval",
    "total_correlation_gaussian_copula",
    "total_correlation_ksg",
]
