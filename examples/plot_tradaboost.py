"""
Which source rows TrAdaBoost trusts
===================================

A third of the source rows follow another rule than the target. Forty labelled target
rows are enough to find out which, but too few to learn from alone.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skadapt import TrAdaBoostClassifier, TransferClassifier

rng = np.random.default_rng(1)
n_source, n_labeled, n_features = 1000, 40, 50
X = rng.normal(size=(n_source + n_labeled + 2000, n_features))
w = rng.normal(size=n_features)
u = np.where(np.arange(n_features) < n_features // 2, -w, w)
sample_domain = np.where(np.arange(len(X)) < n_source, 1, -1)
source = sample_domain > 0

truth = X @ w > 0
misled = source & (rng.random(len(X)) < 0.3)
y = np.where(misled, X @ u > 0, truth).astype(float)
contradicts = (y != truth)[source]
test = np.arange(len(X)) >= n_source + n_labeled
y[test] = np.nan

# %%
# Every learner is the same logistic regression. What one reaches on the source, on the
# labelled target rows, and on both with equal mass per domain:
learner = LogisticRegression()
labeled = ~test & ~source
errors = {
    "target only": 1 - learner.fit(X[labeled], y[labeled]).score(X[test], truth[test])
}
for name, options in {
    "source only": {},
    "equal mass": {"train_on": "labeled", "target_weight": "domain"},
}.items():
    one = TransferClassifier(learner, **options).fit(X, y, sample_domain=sample_domain)
    errors[name] = 1 - one.score(X[test], truth[test])

model = TrAdaBoostClassifier(learner, n_estimators=40)
model.fit(X, y, sample_domain=sample_domain)

# %%
# Left: the weights of the source rows after the last round; those that contradict the
# target's rule have lost most of theirs. Right: the error after each round, and what
# the share of the target in the weights has become, on which the vote depends.
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
bins = np.linspace(0, model.source_weights_.max(), 40)
for rows, name in ((~contradicts, "agrees"), (contradicts, "contradicts")):
    axes[0].hist(model.source_weights_[rows], bins, alpha=0.7, label=name)
axes[0].set(xlabel="weight of a source row, mean 1", ylabel="rows")
axes[0].legend(title="label and target's rule", frameon=False)
staged = [1 - score for score in model.staged_score(X[test], truth[test])]
rounds = np.arange(1, len(staged) + 1)
axes[1].plot(rounds, staged, color="C0", label="TrAdaBoost")
for k, (name, error) in enumerate(errors.items(), start=1):
    axes[1].axhline(error, color=f"C{k}", linestyle="--", label=name)
axes[1].set(xlabel="rounds", ylabel="error on the target", ylim=(0, None))
axes[1].legend(frameon=False)
mass = axes[1].twinx()
mass.plot(rounds, model.target_mass_, color="0.7", linewidth=1)
mass.set(ylabel="share of the target (grey)", ylim=(0, 1))
plt.show()
