"""Choosing a model for a target without labels: splits, scores, diagnosis, advice."""

from skadapt.model_selection._column_shift import ColumnShifts
from skadapt.model_selection._compare import AdapterComparison, compare_adapters
from skadapt.model_selection._diagnose import ShiftDiagnosis, diagnose_shift
from skadapt.model_selection._guard import NegativeTransferGuard
from skadapt.model_selection._importance_weighted import (
    importance_weighted_cv_score,
    importance_weighted_scorer,
)
from skadapt.model_selection._predicted_accuracy import (
    PredictedAccuracy,
    predict_target_accuracy,
)
from skadapt.model_selection._scorers import (
    atc_scorer,
    dev_scorer,
    entropy_scorer,
    get_transfer_scorer,
    get_transfer_scorer_names,
    information_maximization_scorer,
    iwcv_scorer,
    mano_scorer,
    mixval_scorer,
    reverse_scorer,
    source_accuracy_scorer,
)
from skadapt.model_selection._splitters import DomainKFold, SourceKFold, TargetKFold

__all__ = [
    "AdapterComparison",
    "ColumnShifts",
    "DomainKFold",
    "NegativeTransferGuard",
    "PredictedAccuracy",
    "ShiftDiagnosis",
    "SourceKFold",
    "TargetKFold",
    "compare_adapters",
    "diagnose_shift",
    "predict_target_accuracy",
    "importance_weighted_cv_score",
    "importance_weighted_scorer",
    "atc_scorer",
    "dev_scorer",
    "entropy_scorer",
    "get_transfer_scorer",
    "get_transfer_scorer_names",
    "information_maximization_scorer",
    "iwcv_scorer",
    "mano_scorer",
    "mixval_scorer",
    "reverse_scorer",
    "source_accuracy_scorer",
]
