"""Linear observations `y = A x0 + noise`: exact posteriors, and samplers for learned priors."""

from estimators.score._inverse._guided import Guided, guided
from estimators.score._inverse._observation import Observation
from estimators.score._inverse._posterior import posterior
from estimators.score._inverse._variational import red_diff

__all__ = ["Guided", "Observation", "guided", "posterior", "red_diff"]
