"""Mutual information by a network that was trained on simulated data of known information.

From data to an answer: `_prepare` (ranks, whitening), `_moments` and `_profiles` (what is read of
them), `_features` (all of it as one vector), `_network` (quantiles), `_mist` (the estimator).

From laws to weights: `_laws`, `_grid`, `_generator` (random data of known information), `_simulate`
(their features on disk), `_train`, `_table`, `_command`; `_adapt` goes on from there with a user's
own; `_unseen` are laws that nothing is trained on. `_set_transformer` is the paper's architecture.
"""

from estimators.information._mist._adapt import adapt
from estimators.information._mist._mist import MIST, QuantileEstimate, QuantileEstimateInfo

__all__ = ["MIST", "QuantileEstimate", "QuantileEstimateInfo", "adapt"]
