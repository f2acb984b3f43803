"""
What the mappers do to two domains
==================================

The target is the source with its columns scaled and shifted. Each mapper is fitted
on both domains without target labels; a nearest-neighbour classifier trained on the
mapped source predicts the mapped target.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skadapt import CORAL, TCA, PerDomain, SubspaceAlignment, TransferClassifier, mmd
from skadapt.datasets import make_scaling

data = make_scaling(n_source=300, n_target=300, random_state=0)
X, y, sample_domain = data.X, data.y, data.sample_domain
source, target = sample_domain > 0, sample_domain < 0

adapters = {
    "none": None,
    "PerDomain": PerDomain(),
    "CORAL": CORAL(reg=0.01, align_means=True),
    "SubspaceAlignment": SubspaceAlignment(2, align_means=True),
    "TCA": TCA(2, mu=0.01),
}

# %%
# The squared maximum mean discrepancy tells how far apart the domains are, under a
# kernel as wide as the median distance of what it is given.
fig, axes = plt.subplots(1, len(adapters), figsize=(14, 3.2), layout="constrained")
for ax, (name, adapter) in zip(axes, adapters.items()):
    model = TransferClassifier(KNeighborsClassifier(5), adapter)
    model.fit(X, y, sample_domain=sample_domain)
    accuracy = model.score(X[target], y[target])
    Z = X if adapter is None else model.adapter_.transform(X, sample_domain)
    print(f"{name}: accuracy {accuracy:.3f}, MMD^2 {mmd(Z[source], Z[target]):.4f}")
    if Z.shape[1] > 2:
        Z = PCA(2).fit_transform(Z)
    for label, colour in zip(np.unique(y), ("#1f77b4", "#d95f02", "#1b9e77")):
        for rows, marker in ((source, "o"), (target, "x")):
            mine = rows & (y == label)
            ax.scatter(*Z[mine].T, s=10, marker=marker, color=colour, alpha=0.5, lw=1)
    ax.set(xticks=[], yticks=[], title=f"{name}: {accuracy:.0%}")
axes[0].set_xlabel("o source, x target; colour: class")
plt.show()
