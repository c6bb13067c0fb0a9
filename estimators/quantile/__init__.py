"""Which quantiles do all my models, together, predict?

Base models predict quantiles, `(n, models, levels)`; an aggregator learns from out-of-fold
predictions how far to trust each of them, and combines new predictions into one set that
never crosses.

    stacked = quantile.out_of_fold(models, x, y, levels, fold=quantile.folds(len(x), 5))
    fitted = quantile.Aggregator().fit(stacked.predictions, y, levels, features=x, key=key)
    fitted.combine(stacked.predict(new_x), new_x)    # (*batch, levels)

| room | what is in it |
|---|---|
| aggregators | `Aggregator`, which mixes by held-out score; `GlobalWeights`, `LocalWeights` |
| pools | `Average`, `Median`, `TrimmedMean`, `LinearPool`: nothing to learn |
| linear programs | `QuantileRegressionAveraging`, exact, with constraints |
| scores | `weighted_interval_score`, `crps_quantiles`, calibration, and `compare` |
| monotonicity | `sort_levels`, `isotonic_levels`, `sweep_levels`, `crossing_penalty` |
| conformal step | `ConformalQuantiles`, `CrossConformalQuantiles`: levels that cover |
| models | `LinearQuantiles`, networks: base models of our own |
| stacking | `out_of_fold`, for models of this library and of others |

Paper: Fakoor, Kim, Mueller, Smola and Tibshirani, *Flexible Model Aggregation for Quantile
Regression*, arXiv 2103.00083. A model or a level that is missing is named by a mask.
"""

from estimators.quantile._aggregators import (
    Aggregator,
    AggregatorInfo,
    FittedAggregator,
    FittedGlobalWeights,
    FittedLocalWeights,
    GlobalWeights,
    LocalWeights,
    WeightsInfo,
)
from estimators.quantile._linear_program import (
    FittedQuantileRegressionAveraging,
    QuantileRegressionAveraging,
    QuantileRegressionInfo,
)
from estimators.quantile._models import (
    ConditionalGaussian,
    FittedLinearQuantiles,
    FittedNetwork,
    LinearInfo,
    LinearQuantiles,
    LocationScale,
    QuantileNetwork,
    QuantileProcess,
    SimultaneousQuantileNetwork,
)
from estimators.quantile._monotone import (
    crossing_margins,
    crossing_penalty,
    cumulative_inverse,
    cumulative_levels,
    isotonic_levels,
    sort_levels,
    sweep_levels,
)
from estimators.quantile._pools import (
    Average,
    FittedLinearPool,
    LinearPool,
    Median,
    TrimmedMean,
    average,
    linear_pool,
    median,
    trimmed_mean,
)
from estimators.quantile._recalibration import (
    CalibratedQuantiles,
    ConformalQuantiles,
    CrossConformalQuantiles,
    FittedCrossConformalQuantiles,
)
from estimators.quantile._scores import (
    Comparison,
    IntervalCoverage,
    IntervalScoreParts,
    LevelCoverage,
    PITHistogram,
    Score,
    calibration_error,
    compare,
    crps_quantiles,
    crps_samples,
    interval_coverage,
    interval_score,
    interval_score_parts,
    level_coverage,
    mean_score,
    pinball_loss,
    pit_histogram,
    probability_integral_transform,
    weighted_interval_score,
)
from estimators.quantile._stacking import (
    OutOfFold,
    Predictor,
    folds,
    out_of_fold,
    predictor,
)

__all__ = [
    "Aggregator",
    "AggregatorInfo",
    "Average",
    "CalibratedQuantiles",
    "Comparison",
    "ConditionalGaussian",
    "ConformalQuantiles",
    "CrossConformalQuantiles",
    "FittedAggregator",
    "FittedCrossConformalQuantiles",
    "FittedGlobalWeights",
    "FittedLinearPool",
    "FittedLinearQuantiles",
    "FittedLocalWeights",
    "FittedNetwork",
    "FittedQuantileRegressionAveraging",
    "GlobalWeights",
    "IntervalCoverage",
    "IntervalScoreParts",
    "LevelCoverage",
    "LinearInfo",
    "LinearPool",
    "LinearQuantiles",
    "LocalWeights",
    "LocationScale",
    "Median",
    "OutOfFold",
    "PITHistogram",
    "Predictor",
    "QuantileNetwork",
    "QuantileProcess",
    "QuantileRegressionAveraging",
    "QuantileRegressionInfo",
    "Score",
    "SimultaneousQuantileNetwork",
    "TrimmedMean",
    "WeightsInfo",
    "average",
    "calibration_error",
    "compare",
    "crossing_margins",
    "crossing_penalty",
    "crps_quantiles",
    "crps_samples",
    "cumulative_inverse",
    "cumulative_levels",
    "folds",
    "interval_coverage",
    "interval_score",
    "interval_score_parts",
    "isotonic_levels",
    "level_coverage",
    "linear_pool",
    "mean_score",
    "median",
    "out_of_fold",
    "pinball_loss",
    "pit_histogram",
    "predictor",
    "probability_integral_transform",
    "sort_levels",
    "sweep_levels",
    "trimmed_mean",
    "weighted_interval_score",
]
