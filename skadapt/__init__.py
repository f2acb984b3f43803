"""skadapt: transfer learning with the interface of scikit-learn.

Labelled source rows and (mostly unlabelled) target rows go in, a scikit-learn
model that is right on the target comes out. Every public name is importable from
here and loaded when it is first used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("skadapt")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

_MODULES = {
    "skadapt._domains": ("NoAdaptationWarning", "split_domains", "stack_domains"),
    "skadapt._base": (
        "BaseMapper",
        "BaseWeighter",
        "DegenerateWeightsWarning",
        "NegativeTransferWarning",
    ),
    "skadapt._ensemble": ("AdapterEnsembleClassifier",),
    "skadapt._transfer": ("TransferClassifier", "TransferRegressor"),
    "skadapt.instance": (
        "BBSE",
        "DomainClassifierWeights",
        "GaussianWeights",
        "KDEWeights",
        "KLIEP",
        "KMM",
        "LabelShiftEM",
        "MultiSourceTrAdaBoostClassifier",
        "NearestNeighborWeights",
        "RLLS",
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
    ),
    "skadapt.feature": (
        "BDA",
        "CORAL",
        "CoCC",
        "DCI",
        "EasyAdaptClassifier",
        "EasyTL",
        "FeatureAugmentation",
        "GFK",
        "JDA",
        "JGSA",
        "MEDA",
        "MMDE",
        "MSDA",
        "OTMapping",
        "PerDomain",
        "SCL",
        "SSTCA",
        "SubspaceAlignment",
        "TCA",
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
    ),
    "skadapt.metrics": (
        "corr_c",
        "h_score",
        "leep",
        "log_me",
        "mmd",
        "mmd_test",
        "proxy_a_distance",
        "soft_neighborhood_density",
    ),
    "skadapt.model_selection": (
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
    ),
    "skadapt.plotting": (
        "AdapterAccuracyDisplay",
        "AdapterGainDisplay",
        "CalibrationComparisonDisplay",
        "ClassSharesDisplay",
        "ColumnShiftDisplay",
        "DomainROCDisplay",
        "WeightsDisplay",
        "plot_domains",
    ),
}
# Names of an extra: reached from here as well, but not by `from skadapt import *`,
# which has to work without the extra.
_EXTRAS = {
    "skadapt.deep": (
        "DANClassifier",
        "DANNClassifier",
        "DeepCORALClassifier",
        "DistillationClassifier",
        "FineTuneClassifier",
        "FineTuneRegressor",
        "MCCClassifier",
        "MultiTaskClassifier",
        "TorchFeatures",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
_HOME_OF_EXTRAS = {name: home for home, names in _EXTRAS.items() for name in names}
_SUBMODULES = (
    "datasets",
    "feature",
    "instance",
    "metrics",
    "model_selection",
    "plotting",
)

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _HOME_OF_EXTRAS:
        return getattr(import_module(_HOME_OF_EXTRAS[name]), name)
    if name in _SUBMODULES or f"{__name__}.{name}" in _EXTRAS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_SUBMODULES})
