"""Which adapter helps from MNIST to the optdigits, and which hurts?

Source: 5,000 MNIST images reduced to 8 x 8 block counts, labelled. Target: the
1,797 optdigits of scikit-learn, made the same way from other writers, without
labels. Prints a table, says in a sentence what helped, and writes a figure. The last
lines are what `compare_adapters` advises, which sees no label of the target.

    python examples/demo_digits.py [--output FOLDER]

Nothing in the table is tuned: an adapter has its default parameters and follows
standardisation per domain, or, where its paper maps digits (JDA, MEDA), it has the
parameters and the rows of unit length used there. Target labels only score, so the
best row is best in hindsight.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skadapt import (
    CORAL,
    JDA,
    KMM,
    MEDA,
    TCA,
    EasyTL,
    PerDomain,
    SubspaceAlignment,
    TransferClassifier,
    compare_adapters,
)
from skadapt.datasets import load_mnist_optdigits
from skadapt.plotting import plot_domains

CLASSIFIERS = {
    "1-NN": KNeighborsClassifier(n_neighbors=1),
    "logistic": LogisticRegression(solver="newton-cg", max_iter=200),
}
SOURCE_ONLY, MEANS = "none (source only)", "PerDomain (means)"
ADAPTERS = {
    SOURCE_ONLY: None,
    MEANS: PerDomain(StandardScaler(with_std=False)),
    "PerDomain": PerDomain(),
    "CORAL": make_pipeline(PerDomain(), CORAL()),
    "SubspaceAlignment": make_pipeline(PerDomain(), SubspaceAlignment()),
    "TCA": make_pipeline(PerDomain(), TCA()),
    "JDA": make_pipeline(Normalizer(), JDA(kernel="primal", reg=0.1)),
    "KMM": make_pipeline(PerDomain(), KMM()),
}
# Classifiers that adapt by themselves.
MODELS = {
    "EasyTL": make_pipeline(PerDomain(), EasyTL()),
    "MEDA": make_pipeline(Normalizer(), MEDA(random_state=0)),
}
OWN = "its own"  # classifier of these
SIMPLE = (SOURCE_ONLY, MEANS, "PerDomain")  # what an adapter has to beat
COLOURS = {"1-NN": "#4c4c4c", "logistic": "#7fb069", OWN: "#d95f02"}
GREY = "#9a9a9a"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    output = parser.parse_args().output

    console = Console()
    data = load_mnist_optdigits()
    models, accuracy, seconds = run(data, console)
    ceiling = {
        name: cross_val_score(
            classifier,
            data.X[data.sample_domain < 0],
            data.y[data.sample_domain < 0],
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
        ).mean()
        for name, classifier in CLASSIFIERS.items()
    }
    console.print(table(accuracy, seconds, ceiling))
    console.print(own_table(accuracy, seconds))
    console.print(verdict(accuracy), highlight=False, soft_wrap=True)
    output.mkdir(parents=True, exist_ok=True)
    path = output / "digits.png"
    figure(data, models, accuracy, ceiling).savefig(path, dpi=150)
    console.print(f"Figure: {path}", highlight=False)
    console.print(advice(data), highlight=False, soft_wrap=True)


def run(data, console):
    """Fit every adapter with every classifier; keys are (adapter, classifier)."""
    X, y, sample_domain = data.X, data.y, data.sample_domain
    target = sample_domain < 0
    models, accuracy, seconds = {}, {}, {}
    with Progress(console=console, transient=True) as progress:
        total = len(ADAPTERS) * len(CLASSIFIERS) + len(MODELS)
        task = progress.add_task("", total=total)
        for adapter_name, adapter in ADAPTERS.items():
            for name, classifier in CLASSIFIERS.items():
                progress.update(task, description=f"{adapter_name}, {name}")
                start = time.perf_counter()
                model = TransferClassifier(classifier, adapter)
                try:
                    model.fit(X, y, sample_domain=sample_domain)
                except ValueError as error:
                    if "takes no sample_weight" not in str(error):
                        raise
                else:
                    key = adapter_name, name
                    models[key] = model
                    accuracy[key] = model.score(X[target], y[target])
                    seconds[key] = time.perf_counter() - start
                progress.advance(task)
        for name, model in MODELS.items():
            progress.update(task, description=name)
            start = time.perf_counter()
            with config_context(enable_metadata_routing=True):
                model.fit(X, y, sample_domain=sample_domain)
                predicted = model.predict(X[target])
            accuracy[name, OWN] = float(np.mean(predicted == y[target]))
            seconds[name, OWN] = time.perf_counter() - start
            progress.advance(task)
    return models, accuracy, seconds


def table(accuracy, seconds, ceiling):
    out = Table(title="MNIST to optdigits: accuracy on the target, %", box=SIMPLE_HEAD)
    out.caption = "-: takes no weights. Last row: 5-fold cross-validation."
    out.add_column("adapter", no_wrap=True)
    for name in CLASSIFIERS:
        out.add_column(name, justify="right")
        out.add_column("gain", justify="right")
        out.add_column("s", justify="right")
    for adapter in ADAPTERS:
        cells = [adapter]
        for name in CLASSIFIERS:
            if (adapter, name) not in accuracy:
                cells += ["-", "", ""]
                continue
            gain = accuracy[adapter, name] - accuracy[SOURCE_ONLY, name]
            cells.append(f"{100 * accuracy[adapter, name]:.2f}")
            cells.append("" if adapter == SOURCE_ONLY else f"{100 * gain:+.2f}")
            cells.append(f"{seconds[adapter, name]:.2f}")
        out.add_row(*cells, end_section=adapter in (SOURCE_ONLY, SIMPLE[-1], "KMM"))
    cells = ["trained on the target"]
    for name in CLASSIFIERS:
        gain = ceiling[name] - accuracy[SOURCE_ONLY, name]
        cells += [f"{100 * ceiling[name]:.2f}", f"{100 * gain:+.2f}", ""]
    out.add_row(*cells)
    return out


def own_table(accuracy, seconds):
    out = Table(title="Classifiers that adapt by themselves", box=SIMPLE_HEAD)
    out.add_column("classifier", no_wrap=True)
    for heading in ("accuracy, %", *(f"gain over {c} alone" for c in CLASSIFIERS), "s"):
        out.add_column(heading, justify="right")
    for name in MODELS:
        value = accuracy[name, OWN]
        gains = [value - accuracy[SOURCE_ONLY, c] for c in CLASSIFIERS]
        out.add_row(
            name,
            f"{100 * value:.2f}",
            *(f"{100 * gain:+.2f}" for gain in gains),
            f"{seconds[name, OWN]:.2f}",
        )
    return out


def verdict(accuracy):
    """What helped and what hurt, against no adaptation and against the simple rows."""
    best = max(accuracy, key=accuracy.get)
    sentences = [f"Best of all: {best[0]}, {100 * accuracy[best]:.1f} %."]
    for name in CLASSIFIERS:
        gain = {
            adapter: 100 * (accuracy[adapter, name] - accuracy[SOURCE_ONLY, name])
            for adapter in ADAPTERS
            if adapter != SOURCE_ONLY and (adapter, name) in accuracy
        }
        best = max(gain, key=gain.get)
        simple = max(SIMPLE[1:], key=gain.get)
        elaborate = [adapter for adapter in gain if adapter not in SIMPLE]
        better = [adapter for adapter in elaborate if gain[adapter] > gain[simple]]
        worse = [adapter for adapter in elaborate if gain[adapter] <= gain[simple]]
        harm = [adapter for adapter in gain if gain[adapter] < 0]
        text = f"{name}: {best} helped most ({gain[best]:+.1f} points). "
        if better:
            text += f"Better than {simple}: {', '.join(better)}. "
        if worse:
            text += f"No better than {simple}: {', '.join(worse)}. "
        text += (
            f"Worse than no adaptation: {', '.join(harm)}."
            if harm
            else "None was worse than no adaptation."
        )
        sentences.append(text)
    return "\n".join(sentences)


def advice(data):
    """The verdict of `compare_adapters`, and what came of it."""
    target = data.sample_domain < 0
    y = np.where(target, np.nan, data.y)
    found = compare_adapters(data.X, y, data.sample_domain, random_state=0)
    advised, unadapted = (
        100 * np.mean(model.predict(data.X[target]) == data.y[target])
        for model in (found.estimator_, found.baseline_)
    )
    return (
        f"\ncompare_adapters, without a label of the target: {found.verdict}\n"
        f"What came of it: {advised:.1f} % right, and {unadapted:.1f} % without "
        "adaptation."
    )


def figure(data, models, accuracy, ceiling):
    """Both domains before and after the best mapper, and bars for all rows."""
    fig = Figure(figsize=(13, 4.6), layout="constrained")
    *panels, bars = fig.subplots(1, 3, width_ratios=[1, 1, 1.5])
    best = max(models, key=lambda key: (key[0] != "KMM") * accuracy[key])
    plot_domains(
        data.X,
        data.y,
        data.sample_domain,
        [(f"after {best[0]}", ADAPTERS[best[0]])],
        axes=panels,
        max_rows=500,
    )
    draw_bars(bars, accuracy, ceiling)
    return fig


def draw_bars(ax, accuracy, ceiling):
    names = [*ADAPTERS, *MODELS]
    place = np.arange(len(names))[::-1]
    for offset, classifier in zip((0.2, -0.2), CLASSIFIERS, strict=True):
        for name, at in zip(ADAPTERS, place):
            value = accuracy.get((name, classifier))
            if value is None:
                ax.text(1, at + offset, "takes no weights", va="center", color=GREY)
                continue
            draw_bar(ax, at + offset, value, classifier)
        colour = COLOURS[classifier]
        ax.axvline(100 * ceiling[classifier], color=colour, linestyle=":")
    for name, at in zip(names, place, strict=True):
        if name in MODELS:
            draw_bar(ax, at, accuracy[name, OWN], OWN)
    for classifier, colour in COLOURS.items():
        ax.barh(0, 0, color=colour, label=classifier)
    ax.set_yticks(place, names)
    ax.set(xlabel="accuracy on the target, % (dotted: trained on it)", xlim=(0, 102))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        title="classifier", frameon=False, loc="upper right", bbox_to_anchor=(0.93, 1.0)
    )
    ax.set_title("MNIST to optdigits")


def draw_bar(ax, at, value, classifier):
    ax.barh(at, 100 * value, height=0.38, color=COLOURS[classifier])
    ax.text(100 * value + 0.8, at, f"{100 * value:.0f}", va="center")


if __name__ == "__main__":
    main()
