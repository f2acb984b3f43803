"""
What the mappers do to two domains
==================================

The target is the source with its columns scaled and shifted. Each mapper is fitted
on both domains without target labels; a nearest-neighbour classifier trained on the
mapped source predicts the mapped target.
"""

import matplotlib.pyplot as plt
from sklearn.neighbors import KNeighborsClassifier

from skadapt import (
    CORAL,
    TCA,
    PerDomain,
    SubspaceAlignment,
    TransferClassifier,
    mmd,
    plot_domains,
)
from skadapt.datasets import make_scaling

data = make_scaling(n_source=300, n_target=300, random_state=0)
X, y, sample_domain = data.X, data.y, data.sample_domain
source, target = sample_domain > 0, sample_domain < 0

adapters = {
    "none": None,
    "PerDomain": PerDomain(),
    "CORAL": CORAL(reg=0.01, align_means=True),
    "SubspaceAlignment": SubspaceAlignment(2, align_means=True),
    "TCA": TCA(2, reg=0.01),
}

# %%
# The squared maximum mean discrepancy tells how far apart the domains are, under a
# kernel as wide as the median distance of what it is given.
titles = {}
for name, adapter in adapters.items():
    model = TransferClassifier(KNeighborsClassifier(5), adapter)
    model.fit(X, y, sample_domain=sample_domain)
    accuracy = model.score(X[target], y[target])
    Z = X if adapter is None else model.adapter_.transform(X, sample_domain)
    print(f"{name}: accuracy {accuracy:.3f}, MMD^2 {mmd(Z[source], Z[target]):.4f}")
    titles[name] = f"{name}: {accuracy:.0%}"

# %%
# No two panels have axes in common: each shows principal components of its own, where
# there are more than two columns.
mappers = [(titles[name], adapters[name]) for name in adapters if name != "none"]
plot = plot_domains(X, y, sample_domain, mappers)
plot.axes[0].set_title(titles["none"])
plt.show()
