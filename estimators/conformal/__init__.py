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
| classes | `ConformalClassification` with `LAC`, `APS`, `RAPS`, `SAPS`, `TopK`, `Margin` |
| several outcomes | `ConformalEllipsoid`, `ConformalBox`, `DirectionalQuantiles` |
| online | `ACI`, `AgACI`, `DtACI`, `SFOGD`, `SAOCP`, `ConformalPID`, `EnbPI` |
| risk | `ConformalRiskControl`, `RiskControllingSets`, `LearnThenTest`, `threshold_losses` |
| outliers, selection | `OutlierDetection`, `ConformalSelection`, `benjamini_hochberg` |
| drift | `ExchangeabilityTest`, `online_p_values`, `rolling_coverage` |
| conditional guarantees | `ConditionalConformal` |
| censored times | `SurvivalLowerBound`, `AdaptiveSurvivalLowerBound`, `kaplan_meier` |
| probabilities | `VennAbers`, `TemperatureScaling`, `calibration_error`, `reliability` |
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
from estimators.conformal._conditional import (
    CalibratedConditional,
    ConditionalConformal,
    ConditionalSolution,
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
from estimators.conformal._grouped import (
    grouped_conformal_quantiles,
)
from estimators.conformal._guarantee import (
    Guarantee,
)
from estimators.conformal._martingale import (
    Betting,
    Evidence,
    ExchangeabilityTest,
    HistogramBetting,
    PowerBetting,
    SimpleJumper,
    online_p_values,
)
from estimators.conformal._multivariate import (
    BallUnion,
    CalibratedBox,
    CalibratedDirectionalQuantiles,
    CalibratedEllipsoid,
    ConformalBox,
    ConformalEllipsoid,
    DirectionalQuantiles,
    FittedDirectionalQuantiles,
)
from estimators.conformal._online import (
    ACI,
    SAOCP,
    SFOGD,
    AgACI,
    ConformalPID,
    DtACI,
    EnbPI,
    OnlineRun,
    OnlineSpec,
    RollingCoverage,
    rolling_coverage,
)
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
from estimators.conformal._predictor import (
    CalibratedPredictor,
    ConformalPredictor,
)
from estimators.conformal._probability import (
    BetaScaling,
    CalibratedCorrectness,
    CalibratedIsotonic,
    CalibratedLogits,
    CalibratedPit,
    CalibrationError,
    CalibrationTest,
    CorpReliability,
    CorrectnessScaling,
    IsotonicScaling,
    PlattScaling,
    QuantileRecalibration,
    Reliability,
    TemperatureScaling,
    calibration_error,
    calibration_test,
    corp_reliability,
    dirichlet_bandwidth,
    kernel_calibration_error,
    pit_calibration_test,
    reliability,
)
from estimators.conformal._quantile import (
    calibration_size,
    conformal_quantile,
    conformal_rank,
)
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
from estimators.conformal._risk import (
    CalibratedLearnThenTest,
    CalibratedRiskControl,
    CalibratedRiskControllingSets,
    Chosen,
    ConformalRiskControl,
    LearnThenTest,
    RiskControllingSets,
    RiskGuarantee,
    bonferroni_test,
    false_discovery_proportion,
    false_negative_rate,
    fixed_sequence_test,
    graphical_test,
    hoeffding_bentkus_p_value,
    holm_test,
    miscoverage,
    risk_p_values,
    risk_upper_bounds,
    set_size_fraction,
    threshold_losses,
)
from estimators.conformal._selection import (
    CalibratedOutlierDetection,
    CalibratedSelection,
    ConformalSelection,
    ErrorGuarantee,
    OutlierDetection,
    Outliers,
    Rejections,
    Selected,
    benjamini_hochberg,
    e_benjamini_hochberg,
)
from estimators.conformal._survival import (
    AdaptiveSurvivalLowerBound,
    CalibratedAdaptiveSurvivalLowerBound,
    CalibratedSurvivalLowerBound,
    CensoredCoverage,
    ChosenCutoff,
    KaplanMeier,
    SurvivalLowerBound,
    censored_coverage,
    choose_cutoff,
    impute_censoring_times,
    inverse_censoring_weights,
    kaplan_meier,
)
from estimators.conformal._venn import (
    CalibratedVennAbers,
    CalibratedVennPredictor,
    Multiprobability,
    VennAbers,
    VennPredictor,
)
from estimators.conformal._weighted import (
    weighted_conformal_quantiles,
)

__all__ = [
    "ACI",
    "SAOCP",
    "SFOGD",
    "AdaptiveSurvivalLowerBound",
    "AgACI",
    "BallUnion",
    "BatchMean",
    "BatchQuantile",
    "BatchQuantiles",
    "BatchScore",
    "BatchSelection",
    "BetaScaling",
    "Betting",
    "CalibratedAdaptiveSurvivalLowerBound",
    "CalibratedBatchQuantile",
    "CalibratedBatchQuantiles",
    "CalibratedBatchScore",
    "CalibratedBatchSelection",
    "CalibratedBox",
    "CalibratedConditional",
    "CalibratedCorrectness",
    "CalibratedCrossConformal",
    "CalibratedCrossConformalQuantileRegression",
    "CalibratedDensitySet",
    "CalibratedDirectionalQuantiles",
    "CalibratedDistributional",
    "CalibratedEllipsoid",
    "CalibratedIsotonic",
    "CalibratedJackknifeAfterBootstrap",
    "CalibratedLearnThenTest",
    "CalibratedLevels",
    "CalibratedLogits",
    "CalibratedOutlierDetection",
    "CalibratedPit",
    "CalibratedPredictiveSystem",
    "CalibratedPredictor",
    "CalibratedQuantileRegression",
    "CalibratedRegression",
    "CalibratedRiskControl",
    "CalibratedRiskControllingSets",
    "CalibratedSelection",
    "CalibratedSimultaneousCoverage",
    "CalibratedSurvivalLowerBound",
    "CalibratedVennAbers",
    "CalibratedVennPredictor",
    "CalibrationError",
    "CalibrationTest",
    "CensoredCoverage",
    "Chosen",
    "ChosenCutoff",
    "ConditionalConformal",
    "ConditionalSolution",
    "ConformalBox",
    "ConformalEllipsoid",
    "ConformalPID",
    "ConformalPredictiveSystem",
    "ConformalPredictor",
    "ConformalRiskControl",
    "ConformalSelection",
    "ConformalizedQuantileRegression",
    "CorpReliability",
    "CorrectnessScaling",
    "CoverageBand",
    "CrossConformal",
    "CrossConformalQuantileRegression",
    "DensityIntervals",
    "DirectionalQuantiles",
    "DistributionalConformal",
    "DtACI",
    "EnbPI",
    "ErrorGuarantee",
    "Evidence",
    "ExchangeabilityTest",
    "FittedDirectionalQuantiles",
    "FittedFullConformalNearestNeighbours",
    "FittedFullConformalRidge",
    "FittedKernelRatio",
    "FittedLogisticRatio",
    "FullConformalNearestNeighbours",
    "FullConformalRidge",
    "Guarantee",
    "HighestDensitySet",
    "HistogramBetting",
    "IntervalUnion",
    "IsotonicScaling",
    "JackknifeAfterBootstrap",
    "KaplanMeier",
    "KernelRatio",
    "LearnThenTest",
    "LogisticRatio",
    "LogisticRatioInfo",
    "Multiprobability",
    "OnlineRun",
    "OnlineSpec",
    "OutlierDetection",
    "Outliers",
    "PartitionMean",
    "PlattScaling",
    "PowerBetting",
    "QuantileRecalibration",
    "Rejections",
    "Reliability",
    "RiskControllingSets",
    "RiskGuarantee",
    "RollingCoverage",
    "Selected",
    "SimpleJumper",
    "SimultaneousCoverage",
    "SplitRegression",
    "SurvivalLowerBound",
    "TemperatureScaling",
    "Thinned",
    "VennAbers",
    "VennPredictor",
    "batch_rank",
    "batch_rank_law",
    "benjamini_hochberg",
    "bonferroni_test",
    "calibration_error",
    "calibration_size",
    "calibration_size_within",
    "calibration_test",
    "censored_coverage",
    "choose_batch_mean",
    "choose_cutoff",
    "conformal_p_values",
    "conformal_quantile",
    "conformal_rank",
    "corp_reliability",
    "coverage_band",
    "cross_order_statistic",
    "dirichlet_bandwidth",
    "e_benjamini_hochberg",
    "false_discovery_proportion",
    "false_negative_rate",
    "fixed_sequence_test",
    "graphical_test",
    "grouped_conformal_quantiles",
    "hoeffding_bentkus_p_value",
    "holm_test",
    "impute_censoring_times",
    "inverse_censoring_weights",
    "kaplan_meier",
    "kernel_calibration_error",
    "miscoverage",
    "online_p_values",
    "ordering_quantile",
    "pac_coverage",
    "pit_calibration_test",
    "rank_sum_law",
    "rank_sum_quantile",
    "ratio_from_probability",
    "reliability",
    "risk_p_values",
    "risk_upper_bounds",
    "rolling_coverage",
    "sample_ranks",
    "set_size_fraction",
    "thin_to_shift",
    "threshold_losses",
    "weighted_conformal_quantiles",
]
