"""Methods that change the columns of source and target."""

from skadapt.feature._cocc import CoCC
from skadapt.feature._coral import CORAL, CORALResult, coral
from skadapt.feature._dci import DCI, DCIResult, dci
from skadapt.feature._msda import MSDA, MSDAResult, msda
from skadapt.feature._per_domain import PerDomain
from skadapt.feature._scl import SCL, CorrespondencesResult
from skadapt.feature._subspace_alignment import (
    SubspaceAlignment,
    SubspaceAlignmentResult,
    subspace_alignment,
)
from skadapt.feature._tca import TCA, TCAResult, transfer_components
from skadapt.feature._two_stage import (
    TwoStageFeatureClassifier,
    TwoStageFeatureSelector,
)

__all__ = [
    "CORAL",
    "CORALResult",
    "CoCC",
    "CorrespondencesResult",
    "DCI",
    "DCIResult",
    "MSDA",
    "MSDAResult",
    "PerDomain",
    "SCL",
    "SubspaceAlignment",
    "SubspaceAlignmentResult",
    "TCA",
    "TCAResult",
    "TwoStageFeatureClassifier",
    "TwoStageFeatureSelector",
    "coral",
    "dci",
    "msda",
    "subspace_alignment",
    "transfer_components",
]
