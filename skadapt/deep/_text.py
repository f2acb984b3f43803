"""Encoders of text of the BERT type, from a folder of tensors, JSON and no code."""

import hashlib
import json

import numpy as np
import torch
from torch import nn

__all__ = ["TextEncoder"]

_ACTIVATIONS = {
    "gelu": nn.GELU(),
    "gelu_new": nn.GELU("tanh"),
    "gelu_pytorch_tanh": nn.GELU("tanh"),
    "relu": nn.ReLU(),
}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Names of tensors in files of this type, and ours; the longer ones first.
_NAMES = (
    ("embeddings.word_embeddings.", "embeddings.words."),
    ("embeddings.position_embeddings.", "embeddings.positions."),
    ("embeddings.token_type_embeddings.", "embeddings.types."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("encoder.layer.", "layers."),
    ("attention.self.", ""),
    ("attention.output.dense.", "joined."),
    ("attention.output.LayerNorm.", "attention_norm."),
    ("intermediate.dense.", "wide."),
    ("output.dense.", "narrow."),
    ("output.LayerNorm.", "norm."),
    (".gamma", ".weight"),
    (".beta", ".bias"),
)


class TextEncoder(nn.Module):
    """Encoder of texts of the BERT type: token numbers in, one row a text out.

    `load_backbone` makes it of a folder, with weights and `tokenizer`, which is what
    estimators get as `preprocess`. Its parts, which `freeze` may name, are
    ``"embeddings"``, ``"layers.0"``, ``"layers.1"``, ...

    Parameters
    ----------
    config : dict
        Sizes, with the names of ``config.json``: `vocab_size`, `hidden_size`,
        `num_hidden_layers`, `num_attention_heads`, `intermediate_size`,
        `max_position_embeddings`, and what has a usual value otherwise.
    pooling : {"mean", "cls", "max"}, default="mean"
        What is made of the outputs of the tokens: their mean, that of the first
        token, or their maximum. Padding does not count.
    normalize : bool, default=False
        Whether rows have length 1.
    tokenizer : callable, default=None
        Makes the array of token numbers of a text; 0 is padding. Its `max_length`, in
        tokens, can be set.

    Raises
    ------
    ValueError
        If the configuration is that of another type of network.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova. BERT: pre-training of deep
       bidirectional transformers for language understanding. NAACL 2019.
    .. [2] N. Reimers, I. Gurevych. Sentence-BERT: sentence embeddings using Siamese
       BERT-networks. EMNLP 2019.

    Examples
    --------
    >>> import torch
    >>> from skadapt.deep import TextEncoder
    >>> encoder = TextEncoder({
    ...     "vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 2,
    ...     "num_attention_heads": 2, "intermediate_size": 16,
    ...     "max_position_embeddings": 12,
    ... })
    >>> tokens = torch.tensor([[2, 45, 17, 3], [2, 45, 3, 0]])
    >>> encoder(tokens).shape
    torch.Size([2, 8])
    """

    def __init__(self, config, *, pooling="mean", normalize=False, tokenizer=None):
        super().__init__()
        _check_config(config)
        if pooling not in ("mean", "cls", "max"):
            raise ValueError(f"pooling={pooling!r} is none of 'mean', 'cls', 'max'.")
        self.pooling, self.normalize = pooling, normalize
        self.tokenizer = tokenizer
        self.embeddings = _Embeddings(config)
        self.layers = nn.ModuleList(
            _Layer(config) for _ in range(config["num_hidden_layers"])
        )

    def forward(self, tokens):
        """Rows of texts.

        Parameters
        ----------
        tokens : Tensor of int64 of shape (n_texts, n_tokens)
            Token numbers, filled up with 0.

        Returns
        -------
        rows : Tensor of shape (n_texts, hidden_size)
        """
        # The first token always counts: there is no mean of none.
        counts = tokens != 0
        counts[:, 0] = True
        states = self.embeddings(tokens)
        for layer in self.layers:
            states = layer(states, counts[:, None, None, :])
        if self.pooling == "cls":
            rows = states[:, 0]
        elif self.pooling == "max":
            rows = states.masked_fill(~counts[:, :, None], -torch.inf).amax(1)
        else:
            share = counts / counts.sum(1, keepdim=True)
            rows = (states * share[:, :, None]).sum(1)
        return nn.functional.normalize(rows, dim=1) if self.normalize else rows


class _Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.types = nn.Embedding(config.get("type_vocab_size", 2), width)
        self.norm = nn.LayerNorm(width, config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, tokens):
        n, longest = tokens.shape[1], self.positions.num_embeddings
        if n > longest:
            raise ValueError(
                f"A text has {n} tokens, but the encoder takes {longest}: let "
                "preprocess cut texts, as the encoder's tokenizer does."
            )
        place = self.positions.weight[:n] + self.types.weight[0]
        return self.dropout(self.norm(self.words(tokens) + place))


class _Layer(nn.Module):
    """Attention and two dense maps, each added to its input and normalised."""

    def __init__(self, config):
        super().__init__()
        width, eps = config["hidden_size"], config.get("layer_norm_eps", 1e-12)
        self.n_heads = config["num_attention_heads"]
        self.attention_dropout = config.get("attention_probs_dropout_prob", 0.1)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.joined = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps)
        self.wide = nn.Linear(width, config["intermediate_size"])
        self.activation = _ACTIVATIONS[config.get("hidden_act", "gelu")]
        self.narrow = nn.Linear(config["intermediate_size"], width)
        self.norm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, states, counts):
        attended = nn.functional.scaled_dot_product_attention(
            *(
                self._by_head(part(states))
                for part in (self.query, self.key, self.value)
            ),
            attn_mask=counts,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        attended = attended.transpose(1, 2).flatten(2)
        states = self.attention_norm(states + self.dropout(self.joined(attended)))
        seen = self.narrow(self.activation(self.wide(states)))
        return self.norm(states + self.dropout(seen))

    def _by_head(self, states):
        return states.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


def _check_config(config):
    expected = {
        "model_type": ("bert",),
        "position_embedding_type": ("absolute",),
        "hidden_act": tuple(_ACTIVATIONS),
        "pad_token_id": (0,),
        "is_decoder": (False,),
    }
    for name, allowed in expected.items():
        found = config.get(name, allowed[0])
        if found not in allowed:
            raise ValueError(
                f"The configuration has {name}={found!r}, but encoders of the BERT "
                f"type have {' or '.join(map(repr, allowed))}: load others with the "
                "library they come from, and give the module as backbone."
            )
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    for name in (*sizes, "intermediate_size", "max_position_embeddings"):
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise ValueError(
                f"The configuration has {name}={config.get(name)!r}, where a positive "
                "int is needed."
            )


class TextTokenizer:
    """Token numbers of a text, by the library ``tokenizers``.

    Parameters
    ----------
    text : str
        Contents of a ``tokenizer.json``.
    max_length : int
        Tokens after which a text is cut.
    """

    def __init__(self, text, max_length):
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.max_length = max_length

    @property
    def max_length(self):
        return self._tokenizer.truncation["max_length"]

    @max_length.setter
    def max_length(self, value):
        self._tokenizer.enable_truncation(value)

    def __call__(self, text):
        if not isinstance(text, str):
            raise TypeError(
                f"X holds {text!r} of type {type(text).__name__} where a text is "
                "needed: fill in what is missing."
            )
        return np.array(self._tokenizer.encode(text).ids)

    def __repr__(self):
        return f"TextTokenizer({self._digest}, max_length={self.max_length})"


def load_text_encoder(folder, name, read, *, pretrained=True):
    """The encoder in a folder.

    Parameters
    ----------
    folder : Path
        Holds ``config.json``, ``tokenizer.json`` and the weights; also, if they are
        there, the files of sentence-transformers on pooling and length.
    name : str
        What the user calls it.
    read : callable
        Tensors of a file, by name, without running code.
    pretrained : bool, default=True
        Whether weights are read.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{name} needs tokenizers: pip install skadapt[text]"
        ) from error
    weights = [folder / file for file in _WEIGHTS if (folder / file).is_file()]
    needed = ["config.json", "tokenizer.json"] + [_WEIGHTS[0]] * pretrained
    missing = [file for file in needed if not (folder / file).is_file()]
    if weights and _WEIGHTS[0] in missing:
        missing.remove(_WEIGHTS[0])
    if missing:
        raise FileNotFoundError(
            f"The encoder {name} lacks {' and '.join(missing)} in {folder}: put "
            f"{'it' if len(missing) == 1 else 'them'} there."
        )
    config = _json(folder / "config.json")
    pooling, normalize = _pooling(folder)
    encoder = TextEncoder(config, pooling=pooling, normalize=normalize)
    if pretrained:
        _fill(encoder, read(weights[0]), weights[0])
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    encoder.tokenizer = TextTokenizer(text, _max_length(folder, config, text))
    return encoder.eval()


def _json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no file of JSON: {error}.") from error


def _pooling(folder):
    """Pooling and normalisation, as the files of sentence-transformers say."""
    if not (folder / "modules.json").is_file():
        return "mean", False
    parts = {
        entry["type"].rpartition(".")[2]: entry["path"]
        for entry in _json(folder / "modules.json")
    }
    unknown = sorted(set(parts) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise ValueError(
            f"{folder / 'modules.json'} asks for a module {unknown[0]}, which is not "
            "read here: load the encoder with sentence-transformers, and give the "
            "module as backbone."
        )
    if "Pooling" not in parts:
        return "mean", "Normalize" in parts
    path = folder / parts["Pooling"] / "config.json"
    chosen = [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in _json(path).items()
        if key.startswith("pooling_mode_") and value is True
    ]
    if len(chosen) != 1 or chosen[0] not in ("cls", "mean", "max"):
        raise ValueError(
            f"{path} asks for the pooling {' and '.join(chosen) or 'of no kind'}, "
            "where one of cls, mean and max is read."
        )
    return chosen[0], "Normalize" in parts


def _max_length(folder, config, text):
    """Tokens after which texts are cut: what the files say, at most all positions."""
    given = None
    path = folder / "sentence_bert_config.json"
    if path.is_file():
        given = _json(path).get("max_seq_length")
    if given is None:
        given = (json.loads(text).get("truncation") or {}).get("max_length")
    longest = config["max_position_embeddings"]
    return longest if given is None else min(given, longest)


def _fill(encoder, state, path):
    renamed = {}
    for key, tensor in state.items():
        key = key.removeprefix("bert.")
        for theirs, ours in _NAMES:
            key = key.replace(theirs, ours)
        renamed[key] = tensor
    for name, tensor in encoder.state_dict().items():
        found = renamed.get(name)
        if found is None or found.shape != tensor.shape:
            shape = "none" if found is None else f"one of shape {tuple(found.shape)}"
            raise ValueError(
                f"{path} holds {shape} where config.json asks for a tensor {name!r} of "
                f"shape {tuple(tensor.shape)}: it belongs to another encoder."
            )
        tensor.copy_(found)
