"""Methods that change the columns of source and target."""

from skadapt.feature._coral import CORAL, CORALResult, coral
from skadapt.feature._per_domain import PerDomain
from skadapt.feature._subspace_alignment import (
    SubspaceAlignment,
    SubspaceAlignmentResult,
    subspace_alignment,
)
from skadapt.feature._tca import TCA, TCAResult, transfer_components

__all__ = [
    "CORAL",
    "CORALResult",
    "PerDomain",
    "SubspaceAlignment",
    "SubspaceAlignmentResult",
    "TCA",
    "TCAResult",
    "coral",
    "subspace_alignment",
    "transfer_components",
]
