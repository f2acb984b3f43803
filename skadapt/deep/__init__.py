"""Networks of PyTorch as estimators: the optional extra ``skadapt[deep]``."""

from importlib import import_module
from importlib.util import find_spec

_MISSING = [name for name in ("torch", "skorch", "safetensors") if not find_spec(name)]
if _MISSING:
    raise ImportError(
        f"skadapt.deep needs {', '.join(_MISSING)}: pip install skadapt[deep]"
    )

_MODULES = {
    "_adaptation": ("BaseAdaptationClassifier",),
    "_backbones": ("load_backbone",),
    "_dan": ("DANClassifier", "multi_kernel_mmd"),
    "_dann": ("DANNClassifier", "reverse_gradient"),
    "_deep_coral": ("DeepCORALClassifier", "deep_coral_loss"),
    "_distillation": ("DistillationClassifier",),
    "_features": ("TorchFeatures",),
    "_fine_tune": ("FineTuneClassifier", "FineTuneRegressor"),
    "_mcc": ("MCCClassifier", "minimum_class_confusion"),
    "_multi_task": ("MultiTaskClassifier",),
    "_network": ("Network", "parameter_blocks", "transfer_layers"),
    "_schedules": ("learning_rate_factor",),
    "_text": ("TextEncoder",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
