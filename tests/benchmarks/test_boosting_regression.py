"""The quick form of the benchmark of boosting for regression, and its draws."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]
needs_concrete = pytest.mark.skipif(
    not Path(get_data_home(), "concrete.csv.gz").exists(),
    reason=f"concrete.csv.gz is not in {get_data_home()}",
)


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("SKADAPT_DATA", get_data_home())
        patch.syspath_prepend(ROOT)
        import benchmarks.boosting_regression

        yield benchmarks.boosting_regression


@needs_concrete
def test_tables(module):
    tables = list(module.run(quick=True))
    assert len(tables) == 4
    for table, n_groups in zip(tables, (1, 1, 3, 3)):
        rows = json.loads(json.dumps(table.as_dict()))["rows"]
        errors = {row["row"]: np.array(row["errors"]) for row in rows}
        assert {module.TARGET, module.TARGET_R2, module.BOTH_R2} <= set(errors)
        assert {module.TRADABOOST, module.TWO_STAGE} <= set(errors)
        for row in rows:
            values = errors[row["row"]]
            assert values.shape == (n_groups, 2)
            assert row["rmse"] == pytest.approx(values.mean())
            for name, z in row["z"].items():
                difference = values - errors[name]
                # Two draws: their standard error is half of what they are apart.
                se = np.sqrt((np.ptp(difference, axis=1) ** 2 / 4).sum()) / n_groups
                assert z is None or z == pytest.approx(difference.mean() / se)
                assert (z is None) == (difference == 0).all()
            if row["row"] not in module.BASELINES:
                (verdict,) = (
                    note for note in table.notes if note.startswith(f"{row['row']}: ")
                )
                better, worse = verdict.split(". Worse than ")
                for name, z in row["z"].items():
                    wins = better.split(" than ")[1].split("; ")
                    assert (name in wins) == (z < -2)
                    assert (name in worse[:-1].split("; ")) == (z > 2)
    notes = [note for note in tables[0].notes if "four standard errors" in note]
    assert len(notes) == 4
    for note in notes:
        assert (float(note.split("(")[1].split(")")[0]) > 4) == ("NOT" not in note)
    assert not any("four standard errors" in note for note in tables[1].notes)


def test_sources_at_distance_0_are_the_target(module):
    problem = module._friedman(0, 3)
    assert problem.Xs.shape == (500, 10) and problem.Xt.shape == (25, 10)
    assert problem.X.shape == (2000, 10)
    for X, y in ((problem.Xs, problem.ys), (problem.X, problem.y)):
        mean = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
        noise = y - mean - 10 * X[:, 3] - 5 * X[:, 4]
        assert noise.std() == pytest.approx(1, abs=0.1)
    far = module._friedman(4, 3)
    np.testing.assert_array_equal(np.bincount(far.source), [0, 100, 100, 100, 100, 100])
    levels = [far.ys[far.source == k].mean() for k in range(1, 6)]
    assert np.std(levels) > 1


def test_one_linear_source_misleads(module):
    problem = module._linear(0)
    target = LinearRegression().fit(problem.X, problem.y)
    agrees = problem.source == 1
    residuals = problem.ys - target.predict(problem.Xs)
    assert residuals[agrees].std() < 1.3 < 3 < residuals[~agrees].std()


@needs_concrete
def test_draws_of_a_third(module):
    draws = module._third("concrete", "middle", 2)
    for draw in draws:
        assert set(draw.source) == {1, 2} and len(draw.yt) == 25
        rows = np.vstack([draw.Xs, draw.Xt, draw.X])
        assert len(rows) == len(draw.ys) + len(draw.yt) + len(draw.y) == 1030
    np.testing.assert_array_equal(draws[0].Xs, draws[1].Xs)
    assert (draws[0].Xt != draws[1].Xt).any()


def test_alignment_undoes_another_scale(module):
    rng = np.random.default_rng(0)
    X, slopes = rng.normal(size=(130, 3)), rng.normal(size=3)
    y = X @ slopes
    source = np.repeat([1, 2], 40)
    scaled = np.where(source == 1, 3 * y[:80] - 5, -0.5 * y[:80] + 2)
    problem = module.Problem(X[:80], scaled, source, X[80:], y[80:], X, y)
    aligned = module._aligned(problem, LinearRegression())
    np.testing.assert_allclose(aligned.ys, y[:80], atol=1e-10)
    np.testing.assert_array_equal(problem.ys, scaled)
