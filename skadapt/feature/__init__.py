"""Methods that change the columns of source and target."""

from skadapt.feature._bda import BDA
from skadapt.feature._cocc import CoCC
from skadapt.feature._coral import CORAL, CORALResult, coral
from skadapt.feature._dci import DCI, DCIResult, dci
from skadapt.feature._easytl import EasyTL
from skadapt.feature._feature_augmentation import (
    EasyAdaptClassifier,
    FeatureAugmentation,
)
from skadapt.feature._gfk import GFK, GeodesicFlowResult, geodesic_flow_kernel
from skadapt.feature._jda import JDA
from skadapt.feature._jgsa import JGSA
from skadapt.feature._meda import MEDA
from skadapt.feature._mmde import MMDE, MMDEResult, mmde
from skadapt.feature._msda import MSDA, MSDAResult, msda
from skadapt.feature._ot_mapping import OTMapping, OTMappingResult, ot_mapping
from skadapt.feature._per_domain import PerDomain
from skadapt.feature._scl import SCL, CorrespondencesResult
from skadapt.feature._sstca import SSTCA, SSTCAResult, sstca
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
    "BDA",
    "CORAL",
    "CORALResult",
    "CoCC",
    "CorrespondencesResult",
    "DCI",
    "DCIResult",
    "EasyAdaptClassifier",
    "EasyTL",
    "FeatureAugmentation",
    "GFK",
    "GeodesicFlowResult",
    "JDA",
    "JGSA",
    "MEDA",
    "MMDE",
    "MMDEResult",
    "MSDA",
    "MSDAResult",
    "OTMapping",
    "OTMappingResult",
    "PerDomain",
    "SCL",
    "SSTCA",
    "SSTCAResult",
    "SubspaceAlignment",
    "SubspaceAlignmentResult",
    "TCA",
    "TCAResult",
    "TwoStageFeatureClassifier",
    "TwoStageFeatureSelector",
    "coral",
    "dci",
    "geodesic_flow_kernel",
    "mmde",
    "msda",
    "ot_mapping",
    "sstca",
    "subspace_alignment",
    "transfer_components",
]
