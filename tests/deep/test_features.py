"""Features of a network as a transformer."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skadapt import TCA, TransferClassifier, stack_domains
from skadapt.deep import FineTuneClassifier, TorchFeatures


@parametrize_with_checks([TorchFeatures(random_state=0)])
def test_scikit_learn(estimator, check):
    check(estimator)


class _Counted(nn.Module):
    """Counts the rows that pass, over all copies of it."""

    rows = 0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 3, 3)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(3, 2)

    def forward(self, images):
        _Counted.rows += len(images)
        maps = self.first(images).relu()
        return self.last(self.drop(maps.mean((2, 3))))


IMAGES = np.random.default_rng(0).normal(size=(11, 1, 5, 5)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_features_are_those_of_the_network(batch_size):
    network = _Counted().eval()
    with torch.no_grad():
        maps = network.first(torch.from_numpy(IMAGES))
        expected = {
            None: network(torch.from_numpy(IMAGES)),
            "first": maps.mean((2, 3)),
            "drop": maps.relu().mean((2, 3)),
        }
    network.train()
    for layer, features in expected.items():
        ours = TorchFeatures(network, layer, batch_size=batch_size)
        np.testing.assert_allclose(ours.fit_transform(IMAGES), features, atol=1e-6)
    flat = TorchFeatures(network, "first", pooling="flatten").fit_transform(IMAGES)
    np.testing.assert_allclose(flat, maps.flatten(1), atol=1e-6)
    assert network.training


def test_unknown_layer_and_channels():
    with pytest.raises(
        ValueError, match=r"no layer 'top'.*\['first', 'drop', 'last'\]"
    ):
        TorchFeatures(_Counted(), "top").fit(IMAGES)
    with pytest.raises(ValueError, match="2 channels .*takes 1"):
        TorchFeatures(_Counted()).fit(np.repeat(IMAGES, 2, axis=1))


def test_memory_spares_the_network(tmp_path):
    transformer = TorchFeatures(_Counted(), memory=str(tmp_path)).fit(IMAGES)
    first = transformer.transform(IMAGES)
    before = _Counted.rows
    np.testing.assert_array_equal(transformer.transform(IMAGES), first)
    assert _Counted.rows == before
    with torch.no_grad():
        transformer.module_.first.bias += 1
    assert np.abs(transformer.transform(IMAGES) - first).max() > 1e-3
    other = TorchFeatures(_Counted(), "drop", memory=str(tmp_path)).fit(IMAGES)
    assert other.transform(IMAGES).shape == (11, 3)


def test_texts():
    embedding = nn.Embedding(27, 4)
    transformer = TorchFeatures(
        embedding, preprocess=lambda text: [ord(c) - 96 for c in text]
    )
    features = transformer.fit_transform(["a", "c", "b"])
    np.testing.assert_array_equal(
        features, embedding.weight[[1, 3, 2]].detach().numpy()
    )


def test_fitted_estimator_lends_its_features():
    y = np.arange(11) % 2
    model = FineTuneClassifier(_Counted(), max_epochs=1).fit(IMAGES, y)
    features = TorchFeatures(model).fit_transform(IMAGES)
    expected = model.module_.features(torch.from_numpy(IMAGES)).detach()
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_classical_adaptation_on_features():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    Xs = rng.normal(size=(60, 1, 5, 5)) + y[:, None, None, None]
    X, labels, sample_domain = stack_domains(
        Xs.reshape(60, -1), y, Xs.reshape(60, -1) + 0.3
    )
    images = X.reshape(-1, 1, 5, 5)
    pipeline = make_pipeline(
        TorchFeatures(_Counted(), "first"),
        TransferClassifier(LogisticRegression(), TCA(n_components=2)),
    )
    pipeline.fit(images, labels, transferclassifier__sample_domain=sample_domain)
    assert pipeline.score(images[60:], y) > 0.6


def test_pickle_and_names():
    transformer = TorchFeatures(_Counted()).fit(IMAGES)
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(
        again.transform(IMAGES), transformer.transform(IMAGES)
    )
    assert list(transformer.get_feature_names_out()) == [
        "torchfeatures0",
        "torchfeatures1",
    ]
