"""Scores of a whole batch of test rows: its mean, and others that are built from single scores."""

from estimators.conformal._batch_score._bounds import CalibratedBatchScore
from estimators.conformal._batch_score._choose import choose_batch_mean
from estimators.conformal._batch_score._composition import BatchScore
from estimators.conformal._batch_score._mean import BatchMean
from estimators.conformal._batch_score._partition import PartitionMean
from estimators.conformal._batch_score._rank_sum import rank_sum_law, rank_sum_quantile
from estimators.conformal._batch_score._ranks import ordering_quantile, sample_ranks

__all__ = [
    "BatchMean",
    "BatchScore",
    "CalibratedBatchScore",
    "PartitionMean",
    "choose_batch_mean",
    "ordering_quantile",
    "rank_sum_law",
    "rank_sum_quantile",
    "sample_ranks",
]
