"""Outliers and selections among many new rows, with a bound on the share of false ones."""

from estimators.conformal._error_guarantee import ErrorGuarantee
from estimators.conformal._selection._benjamini_hochberg import (
    Rejections,
    benjamini_hochberg,
    e_benjamini_hochberg,
)
from estimators.conformal._selection._outliers import (
    CalibratedOutlierDetection,
    OutlierDetection,
    Outliers,
)
from estimators.conformal._selection._selection import (
    CalibratedSelection,
    ConformalSelection,
    Selected,
)

__all__ = [
    "CalibratedOutlierDetection",
    "CalibratedSelection",
    "ConformalSelection",
    "ErrorGuarantee",
    "OutlierDetection",
    "Outliers",
    "Rejections",
    "Selected",
    "benjamini_hochberg",
    "e_benjamini_hochberg",
]
