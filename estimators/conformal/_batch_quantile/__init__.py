"""Batch predictive inference: quantiles of many test scores that nobody has seen yet."""

from estimators.conformal._batch_quantile._law import batch_rank_law
from estimators.conformal._batch_quantile._quantile import BatchQuantile, CalibratedBatchQuantile
from estimators.conformal._batch_quantile._quantiles import (
    BatchQuantiles,
    CalibratedBatchQuantiles,
)
from estimators.conformal._batch_quantile._rank import batch_rank
from estimators.conformal._batch_quantile._selection import (
    BatchSelection,
    CalibratedBatchSelection,
)
from estimators.conformal._batch_quantile._simultaneous import (
    CalibratedSimultaneousCoverage,
    SimultaneousCoverage,
)
from estimators.conformal._batch_quantile._thinning import Thinned, thin_to_shift

__all__ = [
    "BatchQuantile",
    "BatchQuantiles",
    "BatchSelection",
    "CalibratedBatchQuantile",
    "CalibratedBatchQuantiles",
    "CalibratedBatchSelection",
    "CalibratedSimultaneousCoverage",
    "SimultaneousCoverage",
    "Thinned",
    "batch_rank",
    "batch_rank_law",
    "thin_to_shift",
]
