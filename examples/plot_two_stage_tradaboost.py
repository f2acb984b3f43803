"""
How much source is good for a target
====================================

One of two sources has half of its slopes the wrong way round. Two-stage TrAdaBoost.R2
takes weight off the source in steps, first from the rows that do not fit, and chooses
the step by cross-validation on 25 labelled target rows.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from skadapt import TransferRegressor, TwoStageTrAdaBoostRegressor

rng = np.random.default_rng(0)
X, slopes = rng.normal(size=(1325, 20)), rng.normal(size=20)
sample_domain = np.repeat([1, 2, -1], [200, 100, 1025])
y = X @ slopes + rng.normal(size=1325)
misleading = sample_domain == 2
y[misleading] -= 2 * X[misleading, :10] @ slopes[:10]
test = np.arange(1325) >= 325
visible = np.where(test, np.nan, y)


def rmse(model):
    return np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2))


labeled = (sample_domain < 0) & ~test
errors = {"target alone": rmse(Ridge().fit(X[labeled], y[labeled]))}
for name, weight in {"source and target": 1.0, "equal mass": "domain"}.items():
    model = TransferRegressor(train_on="labeled", target_weight=weight)
    errors[name] = rmse(model.fit(X, visible, sample_domain=sample_domain))

model = TwoStageTrAdaBoostRegressor(n_steps=20, random_state=0)
model.fit(X, visible, sample_domain=sample_domain)

# %%
# Left: the error of each step by cross-validation, the error of the chosen one on
# 1,000 other rows (dot), and that of other ways to use the labels. Right: the weights
# of the source rows in that step.
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
axes[0].plot(model.target_mass_, model.step_errors_, label="steps, cross-validated")
axes[0].plot(model.target_mass_[model.best_step_], rmse(model), "oC0")
for k, (name, error) in enumerate(errors.items(), start=1):
    axes[0].axhline(error, color=f"C{k}", linestyle="--", label=name)
axes[0].set(
    xlabel="share of the target in the weights",
    ylabel="root mean squared error",
    ylim=(0, None),
)
axes[0].legend(frameon=False)
bins = np.linspace(0, model.source_weights_.max(), 40)
source = sample_domain[sample_domain > 0]
for k, name in ((1, "agrees"), (2, "misleads")):
    axes[1].hist(model.source_weights_[source == k], bins, alpha=0.7, label=name)
axes[1].set(xlabel="weight of a source row, mean 1", ylabel="rows")
axes[1].legend(title="its source", frameon=False)
plt.show()
