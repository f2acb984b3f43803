"""
Covariate shift and kernel mean matching
========================================

Source and target follow the same rule from rows to labels, but the target sits
where the source has few rows. A linear classifier cannot follow the rule
everywhere; KMM makes it right where the target is.
"""

# %%
# The generator returns the true density ratio, so the weights can be judged.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from skadapt import KMM, TransferClassifier
from skadapt.datasets import make_covariate_shift

data = make_covariate_shift(n_source=400, n_target=400, shift=1.0, random_state=0)
X, y, sample_domain = data.X, data.y, data.sample_domain
source, target = sample_domain > 0, sample_domain < 0

models = {
    "no adaptation": TransferClassifier(LogisticRegression()),
    "KMM": TransferClassifier(LogisticRegression(), KMM()),
    "KMM, B = 10": TransferClassifier(LogisticRegression(), KMM(B=10)),
}
for name, model in models.items():
    model.fit(X, y, sample_domain=sample_domain)
    print(f"{name}: target accuracy {model.score(X[target], y[target]):.3f}")

ceiling = LogisticRegression().fit(X[source], y[source], data.density_ratio[source])
print(f"true density ratio: {ceiling.score(X[target], y[target]):.3f}")

# %%
# Most rows get no weight at all. The smaller the effective sample size, the more
# the fit depends on a few rows; a smaller bound B spreads the weight.
kmm = models["KMM, B = 10"].adapter_
print(f"effective sample size {kmm.effective_sample_size_:.0f} of {source.sum()} rows")
ratio = data.density_ratio[source]
print(f"rank correlation with the ratio {spearmanr(kmm.weights_, ratio)[0]:.2f}")

fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
grid = np.stack(np.meshgrid(np.linspace(-4, 5, 200), np.linspace(-4, 4, 200)), axis=-1)
for ax, name in zip(axes, ("no adaptation", "KMM, B = 10")):
    adapter = models[name].adapter_
    size = np.full(source.sum(), 8.0) if adapter is None else 8 * adapter.weights_
    ax.scatter(*X[target].T, s=6, color="0.8", label="target (labels unknown)")
    for label, colour in ((0, "#1f77b4"), (1, "#d95f02")):
        rows = y[source] == label
        ax.scatter(
            *X[source][rows].T,
            s=size[rows],
            color=colour,
            alpha=0.6,
            label=f"source, class {label}",
        )
    score = models[name].predict_proba(grid.reshape(-1, 2))[:, 1].reshape(200, 200)
    ax.contour(grid[..., 0], grid[..., 1], score, levels=[0.5], colors="k")
    accuracy = models[name].score(X[target], y[target])
    ax.set_title(f"{name}: {accuracy:.0%} on the target")
    ax.set(xlim=(-4, 5), ylim=(-4, 4), xticks=[], yticks=[])
axes[0].legend(fontsize=8, loc="upper left")
for model, colour in (("KMM", "#7f7f7f"), ("KMM, B = 10", "#1b9e77")):
    weights = np.sort(models[model].adapter_.weights_)[::-1]
    used = np.count_nonzero(weights > 1e-3)
    axes[2].plot(weights[:used], color=colour, label=f"{model}: {used} rows")
axes[2].set(yscale="log", xlabel="row, by weight", ylabel="weight")
axes[2].set_title("weights above 0.001")
axes[2].legend(fontsize=8)
plt.show()
