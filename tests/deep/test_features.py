"""Features of a network as a transformer."""

import pickle
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNet
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


def test_memory_tells_lambdas_apart(tmp_path):
    rows = list(np.arange(12, dtype=np.float32).reshape(4, 3))

    def features(preprocess):
        transformer = TorchFeatures(
            nn.Identity(), preprocess=preprocess, memory=str(tmp_path)
        )
        return transformer.fit_transform(rows)

    np.testing.assert_array_equal(features(lambda row: row), rows)
    np.testing.assert_array_equal(features(lambda row: row + 1), np.add(rows, 1))
    with pytest.raises(ValueError, match="memory cannot tell what preprocess="):
        lock = threading.Lock()
        features(lambda row: row if lock.locked() else row + 1)


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


def test_fitted_backbone_stays_fitted_in_clones():
    y = np.arange(11) % 2
    model = FineTuneClassifier(_Counted(), max_epochs=1).fit(IMAGES, y)
    transformer = TorchFeatures(model)
    expected = transformer.fit_transform(IMAGES)
    np.testing.assert_array_equal(clone(transformer).fit_transform(IMAGES), expected)
    assert clone(transformer).backbone is model
    net = NeuralNet(_Counted, nn.MSELoss).initialize()
    of_skorch = clone(TorchFeatures(net, "first"))
    assert of_skorch.fit_transform(IMAGES).shape == (11, 3)
    pipeline = make_pipeline(transformer, LogisticRegression())
    scores = cross_val_score(pipeline, IMAGES, y, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_signals_are_pooled_over_their_positions():
    signals = np.random.default_rng(0).normal(size=(5, 2, 9)).astype(np.float32)
    network = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 6, 3))
    with torch.no_grad():
        maps = {"1": network[:2](torch.from_numpy(signals))}
        maps[None] = network(torch.from_numpy(signals))
    for layer, of_layer in maps.items():
        for pooling, expected in {
            "mean": of_layer.mean(2),
            "max": of_layer.amax(2),
            "first": of_layer[:, :, 0],
        }.items():
            ours = TorchFeatures(network, layer, pooling=pooling)
            np.testing.assert_allclose(ours.fit_transform(signals), expected, atol=1e-6)


@pytest.mark.parametrize("bytes_", [False, True])
def test_normalize_has_the_channels_of_the_rows(bytes_):
    images = (IMAGES * 50).clip(0, 255).astype(np.uint8) if bytes_ else IMAGES
    with pytest.raises(ValueError, match="normalize has 3 channels.*rows have 1"):
        TorchFeatures(nn.Flatten(), normalize=([0.5] * 3, [0.2] * 3)).fit(images)
    with pytest.raises(ValueError, match="two entries, mean and standard deviation"):
        TorchFeatures(nn.Flatten(), normalize=(0.5, 0.5, 0.5)).fit(images)
    ours = TorchFeatures(nn.Flatten(), normalize=([0.5], 0.2)).fit_transform(images)
    numbers = images.reshape(11, -1) / np.float32(255 if bytes_ else 1)
    np.testing.assert_allclose(ours, (numbers - 0.5) / 0.2, rtol=1e-5, atol=1e-5)


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
