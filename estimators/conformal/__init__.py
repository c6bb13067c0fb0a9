"""Which set holds the answer with the coverage that I asked for?

    calibrated = conformal.SplitRegression(coverage=0.9).calibrate(predictions, y)
    lower, upper = calibrated.interval(new_predictions)
    print(calibrated.guarantee)

The guarantee needs no model to be right: the calibration rows and the new row must be
exchangeable, and the predictions must come from a model that saw neither. Ranks are exact;
with too few calibration rows for the coverage asked, the set is infinite and says why.

| what | names |
|---|---|
| intervals | `SplitRegression`, `ConformalizedQuantileRegression`; by group, weight or place |
| around any model | `ConformalPredictor` |
| weights | `LogisticRatio`, `KernelRatio`, `ratio_from_probability` |
| no rows set aside | `CrossConformal`, `CrossConformalQuantileRegression` |
| | `JackknifeAfterBootstrap`, `FullConformalRidge`, `FullConformalNearestNeighbours` |
| distributions | `ConformalPredictiveSystem`, `DistributionalConformal`, `HighestDensitySet` |
| batches | `BatchQuantile`, `BatchQuantiles`, `SimultaneousCoverage`, `BatchSelection` |
| | `BatchMean`, `BatchScore`, `PartitionMean`, `choose_batch_mean`, `thin_to_shift` |
| how many rows | `calibration_size`, `calibration_size_within`, `coverage_band`, `pac_coverage` |
| kernels | `conformal_quantile`, `conformal_p_values`, `grouped_conformal_quantiles` |
| | `weighted_conformal_quantiles`, `cross_order_statistic`, `conformal_rank`, `batch_rank` |
| laws of ranks | `batch_rank_law`, `rank_sum_law`, `rank_sum_quantile`, `sample_ranks` |
"""

from estimators.conformal._batch_quantile import (
    BatchQuantile,
    BatchQuantiles,
    BatchSelection,
    CalibratedBatchQuantile,
    CalibratedBatchQuantiles,
    CalibratedBatchSelection,
    CalibratedSimultaneousCoverage,
    SimultaneousCoverage,
    Thinned,
    batch_rank,
    batch_rank_law,
    thin_to_shift,
)
from estimators.conformal._batch_score import (
    BatchMean,
    BatchScore,
    CalibratedBatchScore,
    PartitionMean,
    choose_batch_mean,
    ordering_quantile,
    rank_sum_law,
    rank_sum_quantile,
    sample_ranks,
)
from estimators.conformal._coverage import (
    CoverageBand,
    calibration_size_within,
    coverage_band,
    pac_coverage,
)
from estimators.conformal._cross import (
    CalibratedCrossConformal,
    CalibratedCrossConformalQuantileRegression,
    CalibratedJackknifeAfterBootstrap,
    CrossConformal,
    CrossConformalQuantileRegression,
    JackknifeAfterBootstrap,
    cross_order_statistic,
)
from estimators.conformal._full import (
    FittedFullConformalNearestNeighbours,
    FittedFullConformalRidge,
    FullConformalNearestNeighbours,
    FullConformalRidge,
    IntervalUnion,
)
from estimators.conformal._grouped import grouped_conformal_quantiles
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._predictive import (
    CalibratedDensitySet,
    CalibratedDistributional,
    CalibratedLevels,
    CalibratedPredictiveSystem,
    ConformalPredictiveSystem,
    DensityIntervals,
    DistributionalConformal,
    HighestDensitySet,
    conformal_p_values,
)
from estimators.conformal._predictor import CalibratedPredictor, ConformalPredictor
from estimators.conformal._quantile import calibration_size, conformal_quantile, conformal_rank
from estimators.conformal._ratio import (
    FittedKernelRatio,
    FittedLogisticRatio,
    KernelRatio,
    LogisticRatio,
    LogisticRatioInfo,
    ratio_from_probability,
)
from estimators.conformal._regression import (
    CalibratedQuantileRegression,
    CalibratedRegression,
    ConformalizedQuantileRegression,
    SplitRegression,
)
from estimators.conformal._weighted import weighted_conformal_quantiles

__all__ = [
    "BatchMean",
    "BatchQuantile",
    "BatchQuantiles",
    "BatchScore",
    "BatchSelection",
    "CalibratedBatchQuantile",
    "CalibratedBatchQuantiles",
    "CalibratedBatchScore",
    "CalibratedBatchSelection",
    "CalibratedCrossConformal",
    "CalibratedCrossConformalQuantileRegression",
    "CalibratedDensitySet",
    "CalibratedDistributional",
    "CalibratedJackknifeAfterBootstrap",
    "CalibratedLevels",
    "CalibratedPredictiveSystem",
    "CalibratedPredictor",
    "CalibratedQuantileRegression",
    "CalibratedRegression",
    "CalibratedSimultaneousCoverage",
    "ConformalPredictiveSystem",
    "ConformalPredictor",
    "ConformalizedQuantileRegression",
    "CoverageBand",
    "CrossConformal",
    "CrossConformalQuantileRegression",
    "DensityIntervals",
    "DistributionalConformal",
    "FittedFullConformalNearestNeighbours",
    "FittedFullConformalRidge",
    "FittedKernelRatio",
    "FittedLogisticRatio",
    "FullConformalNearestNeighbours",
    "FullConformalRidge",
    "Guarantee",
    "HighestDensitySet",
    "IntervalUnion",
    "JackknifeAfterBootstrap",
    "KernelRatio",
    "LogisticRatio",
    "LogisticRatioInfo",
    "PartitionMean",
    "SimultaneousCoverage",
    "SplitRegression",
    "Thinned",
    "batch_rank",
    "batch_rank_law",
    "calibration_size",
    "calibration_size_within",
    "choose_batch_mean",
    "conformal_p_values",
    "conformal_quantile",
    "conformal_rank",
    "coverage_band",
    "cross_order_statistic",
    "grouped_conformal_quantiles",
    "ordering_quantile",
    "pac_coverage",
    "rank_sum_law",
    "rank_sum_quantile",
    "ratio_from_probability",
    "sample_ranks",
    "thin_to_shift",
    "weighted_conformal_quantiles",
]
