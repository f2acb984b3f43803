"""The quick form of the benchmark of the diagnosis, and what its cases draw."""

import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def diagnose():
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.syspath_prepend(ROOT)
        import benchmarks.diagnose_shift

        yield benchmarks.diagnose_shift


def test_quick(diagnose):
    (table,) = diagnose.run(quick=True)
    rows = json.loads(json.dumps(table.as_dict()))["rows"]
    small = [case for case in diagnose.cases() if case.n_rows <= 140]
    assert [(row["truth"], row["case"], row["rows"]) for row in rows] == [
        (case.truth, case.name, case.n_rows) for case in small
    ]
    assert {row["truth"] for row in rows} == {"none", "label", "feature"}
    for row in rows:
        assert row["draws"] == 5 == sum(row[kind] for kind in diagnose.KINDS)
        assert row["seconds"] > 0
        if row["truth"] == "none":
            assert row["none"] >= 4 and row["z"] < 1.5
        elif row["truth"] == "feature":
            assert row["feature"] >= 4 and row["z_label"] > 2.6
        else:
            assert row["feature"] == 0 and row["share_error"] < 0.15
    assert "rotation, 30 degrees" in str(table)


def test_each_case_draws_as_many_rows_of_each_domain(diagnose):
    names = [(case.name, case.n_rows) for case in diagnose.cases()]
    assert len(set(names)) == len(names)
    for case in diagnose.cases():
        Xs, ys, Xt, yt = case.draw(case.n_rows, np.random.default_rng(0))
        assert len(Xs) == len(ys) == case.n_rows and len(Xt) == len(yt)
        # A class of which there are too few runs out.
        assert len(Xt) == case.n_rows or (
            case.n_rows > len(Xt) > 0.75 * case.n_rows
            and case.name in ("digits, Dirichlet", "cancer, .35 to .7")
        )
        assert Xs.shape[1] == Xt.shape[1]
        assert np.isfinite(Xs).all() and np.isfinite(Xt).all()
        again = case.draw(case.n_rows, np.random.default_rng(0))
        np.testing.assert_array_equal(again[2], Xt)
        other = case.draw(case.n_rows, np.random.default_rng(1))
        assert not np.array_equal(other[2], Xt)


def test_domains_share_no_row(diagnose):
    """Moons and cancer have no equal rows; a common one would be a row drawn twice."""
    for case in diagnose.cases():
        if "cancer" in case.name or "moons" in case.name:
            Xs, _, Xt, _ = case.draw(case.n_rows, np.random.default_rng(3))
            rows = {row.tobytes() for row in np.concatenate([Xs, Xt])}
            assert len(rows) == len(Xs) + len(Xt)


def test_class_shares_of_a_resampled_case(diagnose):
    draw = diagnose._resampled(diagnose._moons, [0.5, 0.5], [0.75, 0.25])
    _, ys, _, yt = draw(1000, np.random.default_rng(0))
    # Four standard errors.
    assert ys.mean() == pytest.approx(0.5, abs=0.065)
    assert yt.mean() == pytest.approx(0.25, abs=0.055)
