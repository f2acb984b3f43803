"""Base of methods that bring the layers of a network closer, row cloud to row cloud."""

from abc import abstractmethod

import torch
from sklearn.utils._param_validation import StrOptions

from skadapt.deep._adaptation import BaseAdaptationClassifier


class BaseLayerAlignmentClassifier(BaseAdaptationClassifier):
    """Base class of a discrepancy between source and target rows in some layers.

    A subclass gives ``_discrepancy(source, target)``, of two tensors with one row for
    each of two or more rows of a domain.
    """

    _parameter_constraints: dict = {
        **BaseAdaptationClassifier._parameter_constraints,
        "layers": [StrOptions({"features", "outputs", "both"})],
    }

    def __init__(self, backbone=None, head="auto", *, layers="both", **training):
        super().__init__(backbone, head, **training)
        self.layers = layers

    @abstractmethod
    def _discrepancy(self, source, target):
        """The discrepancy in one layer, a scalar tensor."""

    def _adaptation_parts(self, n_features, n_classes):
        if self.layers == "features":
            refuse_frozen_trunk(self, ", or layers='outputs'")
        if self.batch_size == 1:
            raise ValueError(
                f"batch_size=1 leaves {type(self).__name__} no two rows of a domain to "
                "compare: use 16 or more."
            )
        return None

    def _adaptation_loss(self, source, target, progress, parts):
        if len(source.outputs) < 2:  # the last batch of an epoch may hold one row
            return source.outputs.new_zeros(())
        names = ("features", "outputs") if self.layers == "both" else (self.layers,)
        return sum(
            self._discrepancy(getattr(source, name), getattr(target, name))
            for name in names
        )


def refuse_frozen_trunk(method, alternative=""):
    """Refuse `freeze` if it leaves nothing that could adapt."""
    if isinstance(method.freeze, str) and method.freeze == "backbone":
        raise ValueError(
            f"freeze='backbone' leaves {type(method).__name__} nothing to adapt, since "
            "it changes the features: use freeze=None or a number of leading "
            f"blocks{alternative}."
        )


def at_least_single(*tensors):
    """The tensors, half precision as float32: squares of it are not good enough."""
    return [t.float() if t.element_size() < 4 else t for t in tensors]


def without_autocast(tensor):
    """Context in which products keep the precision of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)


def check_pair(source, target):
    """Refuse tensors that are not two or more rows each, of equal length."""
    shapes = tuple(source.shape), tuple(target.shape)
    fit = source.ndim == target.ndim == 2 and source.shape[1] == target.shape[1]
    if not fit or min(len(source), len(target)) < 2:
        raise ValueError(
            "source and target must be of shape (n_rows, n_features), with two rows or "
            f"more and equal n_features, got {shapes[0]} and {shapes[1]}."
        )
