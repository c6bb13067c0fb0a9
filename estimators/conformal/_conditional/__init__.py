"""Coverage under every reweighting in a class of functions: groups that overlap, or a kernel."""

from estimators.conformal._conditional._solution import Solution as ConditionalSolution
from estimators.conformal._conditional._spec import CalibratedConditional, ConditionalConformal

__all__ = ["CalibratedConditional", "ConditionalConformal", "ConditionalSolution"]
