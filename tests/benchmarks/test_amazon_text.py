"""The quick form of the benchmark on features of an encoder, where that is at hand."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def amazon_text(monkeypatch, tmp_path):
    monkeypatch.setenv("SKADAPT_DATA", get_data_home())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.syspath_prepend(ROOT)
    import benchmarks.amazon_text

    with threadpool_limits(1):
        yield benchmarks.amazon_text


def test_amazon_text(amazon_text, tmp_path):
    if not Path(get_data_home(), "amazon-reviews.json.xz").exists():
        pytest.skip(f"amazon-reviews.json.xz is not in {get_data_home()}")
    try:
        amazon_text.encoder()
    except SystemExit as error:
        pytest.skip(str(error))
    (table,) = amazon_text.run(quick=True)
    rows = {row["row"]: row for row in table.rows}
    assert list(rows) == [
        amazon_text.FLOOR,
        *amazon_text.methods(),
        amazon_text.CEILING,
    ]
    floor = rows["MiniLM + logistic regression"]
    assert floor["gain"] == floor["least_gain"] == 0
    for row in rows.values():
        (accuracy,) = row["tasks"].values()
        assert row["mean"] == accuracy
        assert row["gain"] == pytest.approx(accuracy - floor["mean"])
        assert 40 < accuracy <= 100
    assert all(cell not in str(table) for cell in ("nan", "{", "}"))
    assert (tmp_path / "skadapt-features").is_dir()


def test_features_keep_the_order_of_the_texts(amazon_text):
    try:
        amazon_text.encoder()
    except SystemExit as error:
        pytest.skip(str(error))
    texts = np.array(["one two three four", "a", "one two three", "b c"], dtype=object)
    rows = amazon_text.features(texts, 8)
    for text, row in zip(texts, rows):
        alone = amazon_text.features(np.array([text], dtype=object), 8)
        np.testing.assert_allclose(alone[0], row, atol=1e-5)


def test_without_an_encoder_it_ends_with_a_sentence(amazon_text, monkeypatch, tmp_path):
    if find_spec("torch") and not find_spec("tokenizers"):
        expected = "needs tokenizers"
    else:
        expected = "model.safetensors|skadapt.deep needs"
    monkeypatch.setattr(amazon_text, "find_spec", lambda name: None)
    monkeypatch.setenv("SKADAPT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=f"amazon_text has no encoder: .*{expected}"):
        amazon_text.encoder()
