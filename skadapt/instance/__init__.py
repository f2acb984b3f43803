"""Methods that re-weight the rows of the source."""

from skadapt.instance._bbse import BBSE
from skadapt.instance._domain_classifier import (
    DomainClassifierResult,
    DomainClassifierWeights,
    domain_classifier_weights,
)
from skadapt.instance._gaussian import (
    GaussianResult,
    GaussianWeights,
    gaussian_weights,
)
from skadapt.instance._kde import KDEResult, KDEWeights, kde_weights
from skadapt.instance._kliep import KLIEP, KLIEPResult, kliep
from skadapt.instance._kmm import KMM, KMMResult, kernel_mean_matching
from skadapt.instance._label_shift_em import LabelShiftEM
from skadapt.instance._multi_source_tradaboost import MultiSourceTrAdaBoostClassifier
from skadapt.instance._nearest_neighbor import (
    NearestNeighborResult,
    NearestNeighborWeights,
    nearest_neighbor_weights,
)
from skadapt.instance._rlls import RLLS
from skadapt.instance._task_tradaboost import TaskTrAdaBoostClassifier
from skadapt.instance._tradaboost import TrAdaBoostClassifier
from skadapt.instance._tradaboost_regressor import TrAdaBoostRegressor
from skadapt.instance._two_stage_tradaboost import TwoStageTrAdaBoostRegressor
from skadapt.instance._ulsif import ULSIF, RatioResult, RuLSIF, rulsif, ulsif

__all__ = [
    "BBSE",
    "DomainClassifierResult",
    "DomainClassifierWeights",
    "GaussianResult",
    "GaussianWeights",
    "KDEResult",
    "KDEWeights",
    "KLIEP",
    "KLIEPResult",
    "KMM",
    "KMMResult",
    "LabelShiftEM",
    "MultiSourceTrAdaBoostClassifier",
    "NearestNeighborResult",
    "NearestNeighborWeights",
    "RLLS",
    "RatioResult",
    "RuLSIF",
    "TaskTrAdaBoostClassifier",
    "TrAdaBoostClassifier",
    "TrAdaBoostRegressor",
    "TwoStageTrAdaBoostRegressor",
    "ULSIF",
    "domain_classifier_weights",
    "gaussian_weights",
    "kde_weights",
    "kernel_mean_matching",
    "kliep",
    "nearest_neighbor_weights",
    "rulsif",
    "ulsif",
]
