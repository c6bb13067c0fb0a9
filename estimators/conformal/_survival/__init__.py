"""Lower bounds for survival times that may be censored, and the curves that weigh censored rows."""

from estimators.conformal._survival._adaptive import (
    AdaptiveSurvivalLowerBound,
    CalibratedAdaptiveSurvivalLowerBound,
)
from estimators.conformal._survival._censored_coverage import CensoredCoverage, censored_coverage
from estimators.conformal._survival._choose import ChosenCutoff, choose_cutoff
from estimators.conformal._survival._impute import impute_censoring_times
from estimators.conformal._survival._kaplan_meier import KaplanMeier, kaplan_meier
from estimators.conformal._survival._lower_bound import (
    CalibratedSurvivalLowerBound,
    SurvivalLowerBound,
)
from estimators.conformal._survival._weights import inverse_censoring_weights

__all__ = [
    "AdaptiveSurvivalLowerBound",
    "CalibratedAdaptiveSurvivalLowerBound",
    "CalibratedSurvivalLowerBound",
    "CensoredCoverage",
    "ChosenCutoff",
    "KaplanMeier",
    "SurvivalLowerBound",
    "censored_coverage",
    "choose_cutoff",
    "impute_censoring_times",
    "inverse_censoring_weights",
    "kaplan_meier",
]
