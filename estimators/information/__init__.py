"""How much do two variables tell about each other? Mutual information, in nats.

    information.KSG(neighbours=5).estimate(x, y)   any dependence, few columns
    information.GaussianCopula().estimate(x, y)    Gaussian copulas, many columns

Both return an `Estimate` with a `value`, a `standard_error` and `.interval(coverage)`. The kernels
`ksg` and `gaussian_copula` give the value alone. `normal_scores` turns any column, discrete
ones included, into one that they can work with.

Whether there is a dependence at all is a question for a test, exact for every n:

    information.permutation_test(x, y, key=key)                 two variables of any width
    information.mutual_information_matrix(data, key=key)        all pairs of columns at once

`x` is `(n, dx)`, `y` is `(n, dy)`: rows are joint samples. Everything works under jit and vmap.
"""

from estimators.information._estimate import Estimate, EstimateInfo
from estimators.information._gaussian_copula import GaussianCopula, gaussian_copula
from estimators.information._ksg import KSG, ksg
from estimators.information._matrix import MutualInformationMatrix, mutual_information_matrix
from estimators.information._permutation import PermutationTest, ksg_null, permutation_test
from estimators.information._ranks import normal_scores

__all__ = [
    "KSG",
    "Estimate",
    "EstimateInfo",
    "GaussianCopula",
    "MutualInformationMatrix",
    "PermutationTest",
    "gaussian_copula",
    "ksg",
    "ksg_null",
    "mutual_information_matrix",
    "normal_scores",
    "permutation_test",
]
