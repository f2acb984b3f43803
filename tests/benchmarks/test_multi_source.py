"""The quick form of the multi-source benchmark, and what its table says."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def multi_source():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("SKADAPT_DATA", get_data_home())
        patch.syspath_prepend(ROOT)
        import benchmarks.multi_source

        yield benchmarks.multi_source


def test_quick(multi_source):
    (table,) = multi_source.run(quick=True)
    kept = json.loads(json.dumps(table.as_dict()))
    rows = {row["row"]: row for row in kept["rows"]}
    names = [*multi_source.models(None), multi_source.AGAIN]
    assert list(rows) == names
    reference = np.array(rows[multi_source.RELEVANT]["accuracies"])
    for name, row in rows.items():
        values = np.array(row["accuracies"])
        assert len(values) == 3
        assert row["accuracy"] == pytest.approx(values.mean())
        assert row["worst"] == values.min()
        if name != multi_source.RELEVANT:
            assert row["gain"] == pytest.approx((values - reference).mean())
        assert row["seconds"] > 0
    assert (
        rows[multi_source.TASK]["accuracies"] == rows[multi_source.AGAIN]["accuracies"]
    )
    assert rows[multi_source.MULTI]["share"] > 90
    assert 20 < rows[multi_source.TASK]["share"] < 100
    assert rows[multi_source.MULTI]["gain"] > -1
    assert rows[multi_source.POOLED]["gain"] < -3
    assert all(name in str(table) for name in names)


@pytest.mark.parametrize("gain, ratio", [(-0.5, 30), (-1.5, 30), (2.0, 4)])
def test_verdicts_follow_the_numbers(multi_source, gain, ratio):
    rows = [
        {"row": name, "accuracy": 80.0, "gain": 0.0, "seconds": 1.0}
        for name in [*multi_source.models(None), multi_source.AGAIN]
    ]
    by_name = {row["row"]: row for row in rows}
    by_name[multi_source.MULTI] |= {"accuracy": 80 + gain, "gain": gain}
    by_name[multi_source.AGAIN]["seconds"] = 1 / ratio
    near, cheap = multi_source._verdicts(rows)
    assert ("is NOT within 1 point" in near) == (gain < -1)
    assert ("BEHIND" in near) == (gain < 0)
    assert f"{abs(gain):.1f} points" in near
    assert f"{ratio} times cheaper" in cheap
    assert ("NOT ten times" in cheap) == (ratio < 10)


def test_draws(multi_source):
    """The relevant source agrees with the target, and the test labels are hidden."""
    draw = multi_source.concepts(0, 40, (2,))
    labelled = (draw.sample_domain < 0) & ~draw.test
    assert labelled.sum() == 40 and draw.test.sum() == 1000
    agreement = {}
    for k in range(1, 6):
        rows = draw.sample_domain == k
        model = LogisticRegression().fit(draw.X[rows], draw.y[rows])
        agreement[k] = model.score(draw.X[draw.test], draw.truth[draw.test])
    assert agreement[2] > 0.8
    assert max(agreement[k] for k in (1, 3, 4, 5)) < 0.75
    only = draw.only(2)
    assert set(only.sample_domain) == {2, -1}
    np.testing.assert_array_equal(only.X[only.test], draw.X[draw.test])
    every = multi_source.concepts(0, 40, (1, 2, 3, 4, 5))
    for k in range(1, 6):
        rows = every.sample_domain == k
        model = LogisticRegression().fit(every.X[rows], every.y[rows])
        assert model.score(every.X[every.test], every.truth[every.test]) > 0.8


def test_reviews(multi_source):
    if not Path(get_data_home(), "amazon400.npz").exists():
        pytest.skip(f"amazon400.npz is not in {get_data_home()}")
    draw = multi_source.reviews(0)
    assert [(draw.sample_domain == k).sum() for k in (1, 2, 3)] == [400] * 3
    assert ((draw.sample_domain < 0) & ~draw.test).sum() == 40
    np.testing.assert_allclose(draw.X.power(2).sum(axis=1), 1)
    other = multi_source.reviews(1)
    assert (draw.truth != other.truth).any()


def test_best_source(multi_source):
    draw = multi_source.concepts(1, 40, (2,))
    model = multi_source.BestSource(LogisticRegression())
    model.fit(draw.X, draw.y, sample_domain=draw.sample_domain)
    rows = draw.sample_domain == 2
    alone = LogisticRegression().fit(draw.X[rows], draw.y[rows])
    np.testing.assert_array_equal(model.predict(draw.X), alone.predict(draw.X))
