"""
What kind of shift is it?
=========================

Three data sets whose truth is known: the same law in both domains, other class
shares, other features. :func:`skadapt.diagnose_shift` says which is which without
labels of the target, and its figures say what to do.
"""

# %%
# Each diagnosis is a sentence.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

from skadapt import diagnose_shift
from skadapt.plotting import ClassSharesDisplay, ColumnShiftDisplay

data = load_breast_cancer(as_frame=True)
X, y = data.data, data.target.to_numpy()
rng = np.random.default_rng(0)

halves = np.where(rng.random(len(y)) < 0.5, 1, -1)
by_class = np.where(rng.random(len(y)) < np.where(y == 0, 0.7, 0.25), -1, 1)
by_texture = np.where(X["mean texture"] + 3 * rng.normal(size=len(y)) > 19, -1, 1)
domains = {
    "halves of one sample": halves,
    "rows drawn by class": by_class,
    "rows drawn by a column": by_texture,
}
found = {
    name: diagnose_shift(X, y, sample_domain, random_state=0)
    for name, sample_domain in domains.items()
}
for name, diagnosis in found.items():
    print(f"{name}: {diagnosis.kind}. {diagnosis}\n")

# %%
# Class shares with two standard errors, and the columns that differ most where the
# rows were drawn by one.
fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3.8), layout="constrained", width_ratios=[1, 2]
)
true = np.bincount(y[by_class < 0]) / (by_class < 0).sum()
ClassSharesDisplay.from_diagnosis(found["rows drawn by class"], true=true, ax=left)
ColumnShiftDisplay.from_diagnosis(
    found["rows drawn by a column"], n_columns=10, ax=right
)
plt.show()
