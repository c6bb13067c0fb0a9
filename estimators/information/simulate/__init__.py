"""Laws of pairs (X, Y) with known mutual information, and the test sets that are made of them.

    law = simulate.Student(simulate.dense_correlation(2, 3, correlation=0.3), 4.0, dx=2)
    law.dimensions                                     # (2, 3)
    law.mutual_information, law.standard_error         # nats, and the error of that number
    x, y = law.sample(jax.random.key(0), 1000)         # (1000, 2) and (1000, 3)

Laws: `Normal`, `Student`, `AdditiveUniform`, `Mixture`; correlation matrices for them:
`dense_correlation`, `sparse_correlation`, `latent_correlation`.

`Transformed(law, of_x=..., of_y=...)` passes x and y through maps that can be undone, which
leaves the information as it is: `Elementwise`, `Bimodal`, `Spiral`, `SwissRoll`, `Wave`,
`Affine`, and a `Flow` drawn by `random_flow`.

Test sets: `benchmark_tasks()`, the 48 tasks of Czyż et al., with `DISTINCT`, `GROUPS`,
`BEND_AND_MIX` and `EQUAL_RANKS`; `mist_families(split)`, the families of MIST. What trains on
simulated data must keep away from `HELD_OUT`, and `held_out(law)` tells.

Laws are pytrees, their parameters the leaves: everything works under jit and vmap.
"""

from estimators.information.simulate._additive_uniform import AdditiveUniform
from estimators.information.simulate._benchmark import (
    BEND_AND_MIX,
    DISTINCT,
    EQUAL_RANKS,
    GROUPS,
    benchmark_tasks,
)
from estimators.information.simulate._bimodal import Bimodal
from estimators.information.simulate._correlations import (
    dense_correlation,
    latent_correlation,
    sparse_correlation,
)
from estimators.information.simulate._elementwise import Elementwise
from estimators.information.simulate._flow import Flow, FlowLayer, random_flow
from estimators.information.simulate._held_out import HELD_OUT, held_out
from estimators.information.simulate._mist_families import mist_families
from estimators.information.simulate._mixture import Mixture
from estimators.information.simulate._normal import Normal
from estimators.information.simulate._shear import Affine, Wave
from estimators.information.simulate._simulator import Simulator
from estimators.information.simulate._spiral import Spiral
from estimators.information.simulate._student import Student
from estimators.information.simulate._swiss_roll import SwissRoll
from estimators.information.simulate._transformed import Transformation, Transformed

__all__ = [
    "BEND_AND_MIX",
    "DISTINCT",
    "EQUAL_RANKS",
    "GROUPS",
    "HELD_OUT",
    "AdditiveUniform",
    "Affine",
    "Bimodal",
    "Elementwise",
    "Flow",
    "FlowLayer",
    "Mixture",
    "Normal",
    "Simulator",
    "Spiral",
    "Student",
    "SwissRoll",
    "Transformation",
    "Transformed",
    "Wave",
    "benchmark_tasks",
    "dense_correlation",
    "held_out",
    "latent_correlation",
    "mist_families",
    "random_flow",
    "sparse_correlation",
]
