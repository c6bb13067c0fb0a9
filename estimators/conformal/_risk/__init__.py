"""Risk control: a parameter with a promise about the loss of new rows."""

from estimators.conformal._risk._bounds import hoeffding_bentkus_p_value
from estimators.conformal._risk._choose import Chosen
from estimators.conformal._risk._conformal import CalibratedRiskControl, ConformalRiskControl
from estimators.conformal._risk._controlling import (
    CalibratedRiskControllingSets,
    RiskControllingSets,
)
from estimators.conformal._risk._counts import (
    false_discovery_proportion,
    false_negative_rate,
    miscoverage,
    set_size_fraction,
)
from estimators.conformal._risk._family import (
    bonferroni_test,
    fixed_sequence_test,
    graphical_test,
    holm_test,
)
from estimators.conformal._risk._guarantee import RiskGuarantee
from estimators.conformal._risk._learn import CalibratedLearnThenTest, LearnThenTest
from estimators.conformal._risk._thresholds import threshold_losses
from estimators.conformal._risk._upper import risk_p_values, risk_upper_bounds

__all__ = [
    "CalibratedLearnThenTest",
    "CalibratedRiskControl",
    "CalibratedRiskControllingSets",
    "Chosen",
    "ConformalRiskControl",
    "LearnThenTest",
    "RiskControllingSets",
    "RiskGuarantee",
    "bonferroni_test",
    "false_discovery_proportion",
    "false_negative_rate",
    "fixed_sequence_test",
    "graphical_test",
    "hoeffding_bentkus_p_value",
    "holm_test",
    "miscoverage",
    "risk_p_values",
    "risk_upper_bounds",
    "set_size_fraction",
    "threshold_losses",
]
