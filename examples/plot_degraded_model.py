"""
A model that got worse: from a table to a verdict
=================================================

A classifier of tumours works in one hospital. A second one has another scanner, other
gaps in its records, and no diagnoses yet. Is the model still right there, and what can
be done?

The measurements are the breast cancer data of scikit-learn; the second hospital is
made of them, so that its diagnoses are known and can be looked at in the end.
"""

# %%
# The table
# ---------
# Ten columns of numbers, one of categories, and missing values. The new scanner
# resolves more, so that lengths and areas come out larger, its contrast is another,
# and one of the laboratories does not exist there.
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skadapt import compare_adapters, diagnose_shift

rng = np.random.default_rng(0)
data = load_breast_cancer(as_frame=True)
table = data.data.iloc[:, :10].copy()
diagnosis = np.asarray(data.target_names)[data.target]
is_new = rng.random(len(table)) < 0.5

numbers = list(table.columns)
scanner = {"radius": 1.4, "perimeter": 1.4, "area": 2.0, "texture": 0.8}
for column in numbers:
    factor = scanner.get(column.removeprefix("mean "), 1.15)
    table.loc[is_new, column] *= factor
table[numbers] = table[numbers].mask(rng.random((len(table), 10)) < 0.05)
table["laboratory"] = rng.choice(["east", "north", "west"], len(table))
table.loc[is_new & (table["laboratory"] == "west"), "laboratory"] = None
table[is_new].head()

# %%
# The model that is in use
# ------------------------
# Like any model it was judged on patients of the hospital that it was made in.
model = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["laboratory"]),
        verbose_feature_names_out=False,
    ),
    LogisticRegression(max_iter=1000),
)
old = np.flatnonzero(~is_new)
train, held = old[::2], old[1::2]
model.fit(table.iloc[train], diagnosis[train])
print(f"first hospital: {model.score(table.iloc[held], diagnosis[held]):.0%} right")
print(f"says malignant: {np.mean(model.predict(table[is_new]) == 'malignant'):.0%}")
print(f"in the first:   {np.mean(diagnosis[~is_new] == 'malignant'):.0%}")

# %%
# Far more patients of the second hospital are called ill. Are they, or is it the
# scanner?
#
# The question in one call
# ------------------------
# Rows of both hospitals in one table, ``None`` where there is no diagnosis, and a
# number that says where a row comes from: positive where labels are, negative where
# the model is to be used.
y = np.where(is_new, None, diagnosis)
domain = np.where(is_new, -1, 1)
found = compare_adapters(table, y, domain, model, random_state=0)
print(found.verdict)

# %%
# Which columns moved
# -------------------
# The diagnosis behind the verdict has a report on each column as the classifier gets
# it, after the encoding.
found.shift.columns.to_frame().head(6)

# %%
# What the models say
# -------------------
# Each adapter with the same classifier. ``predicted_accuracy`` is what to expect on
# the new patients, ``source_accuracy`` what a cross-validation in the first hospital
# says: by that alone nothing is wrong.
columns = ["source_accuracy", "predicted_accuracy", "mixval", "agreement"]
found.table[columns].round(3)

# %%
# The unadapted model and the average are marked.
display = found.plot()

# %%
# What came of it
# ---------------
# ``estimator_`` takes the table as it is. With the diagnoses that nobody had:
for name, used in (("as it was", found.baseline_), ("advised", found.estimator_)):
    right = np.mean(used.predict(table[is_new]) == diagnosis[is_new])
    print(f"{name:10s}: {right:.0%} right in the second hospital")

# %%
# And if nothing had changed?
# ---------------------------
# Two halves of the first hospital: there is nothing to adapt to, and it says so.
half = np.where(np.arange(len(old)) % 2, -1, 1)
same = diagnose_shift(
    model[:-1].transform(table.iloc[old]), diagnosis[old], half, random_state=0
)
print(same)
