"""Deep adaptation from USPS to MNIST and back, with a small network trained here.

All 1,800 and 2,000 images of 16 x 16, all source labels, no target labels, accuracy on
all target rows; two convolutions with batch norm and one hidden layer, from random
weights. Nothing was tuned: rates, schedule and momentum are those of the DANN paper
(.01 (1 + 10 p)^-.75, .9) for every row, batches hold 64 rows of each domain, every
other parameter is its default. For Deep CORAL the default of 1 also agrees with the
paper's rule that the two losses be alike at the end: .06 and .11.
"""

import time
from functools import partial
from importlib import import_module

import numpy as np

import skadapt
from benchmarks._harness import Table
from skadapt.datasets import fetch_digits_usps_mnist

TASKS = {"USPS to MNIST": "usps", "MNIST to USPS": "mnist"}
FLOOR, CONTROL, CEILING = "source only", "batches of both", "target labels"
DAN, CORAL, DANN, MCC = "DAN", "Deep CORAL", "DANN", "MCC"
# Names, for this module has to be importable without the extra.
METHODS = {
    CONTROL: ("MCCClassifier", {"trade_off": 0.0}),
    DAN: ("DANClassifier", {}),
    CORAL: ("DeepCORALClassifier", {}),
    DANN: ("DANNClassifier", {}),
    MCC: ("MCCClassifier", {}),
}
# Tzeng et al., CVPR 2017, table 2, from memory: LeNet on as many images, of 28 x 28.
PUBLISHED = {
    FLOOR: {"USPS to MNIST": 57.1, "MNIST to USPS": 75.2},
    DANN: {"USPS to MNIST": 73.0, "MNIST to USPS": 77.1},
}


def network():
    """Two convolutions and a hidden layer for images of 16 x 16."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
    )


def run(quick=False):
    """Five seeds of 30 epochs, both ways.

    ``quick``: two of 10 epochs, one way, on every sixth image.
    """
    import_module("skadapt.deep")  # which names the extra, where it is missing
    torch = import_module("torch")

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield accuracies(n_seeds=2 if quick else 5, quick=quick)
    finally:
        torch.set_num_threads(threads)


def accuracies(n_seeds, quick):
    """The table; a seed draws the first weights and the batches."""
    max_epochs = 10 if quick else 30
    tasks = dict(list(TASKS.items())[:1]) if quick else TASKS
    values, seconds = {}, {}
    for task, source in tasks.items():
        data = fetch_digits_usps_mnist(source=source)
        X = (2 * data.X - 1).astype(np.float32).reshape(-1, 1, 16, 16)
        y, ids = data.y, data.sample_domain
        if quick:
            chosen = np.arange(len(y)) % 6 == 0
            X, y, ids = X[chosen], y[chosen], ids[chosen]
        source, target = ids > 0, ids < 0
        visible = np.where(target, np.nan, y)
        rng = np.random.default_rng(0)
        half = target & (rng.random(len(y)) < 0.5)
        for seed in range(n_seeds):
            settings = {
                "lr": 0.01,
                "optimizer": "sgd",
                "momentum": 0.9,
                "schedule": "dann",
                "max_epochs": max_epochs,
                "device": "cpu",
                "random_state": seed,
            }

            def measure(row, fit, test):
                start = time.perf_counter()
                model = fit(settings)
                seconds.setdefault(row, []).append(time.perf_counter() - start)
                found = 100 * model.score(X[test], y[test])
                values.setdefault(row, {}).setdefault(task, []).append(found)

            def plain(settings, rows):
                model = skadapt.FineTuneClassifier(network, **settings)
                return model.fit(X[rows], y[rows])

            def adapted(settings, name, own):
                model = getattr(skadapt, name)(network, **own, **settings)
                return model.fit(X, visible, sample_domain=ids)

            measure(FLOOR, partial(plain, rows=source), target)
            for row, (name, own) in METHODS.items():
                measure(row, partial(adapted, name=name, own=own), target)
            measure(CEILING, partial(plain, rows=half), target & ~half)
    rows = [_row(name, values, seconds) for name in values]
    return Table(
        f"USPS and MNIST, accuracy in %, mean of {n_seeds} seeds, {max_epochs} epochs",
        {
            "row": "{row}",
            **{f"{t}: published": f"{{published[{t}]:.1f}}" for t in tasks},
            **{t: f"{{tasks[{t}]:.1f}} +- {{errors[{t}]:.1f}}" for t in tasks},
            "mean": "{mean:.1f} +- {error:.1f}",
            "gain": "{gain:+.1f} +- {gain_error:.1f}",
            "seconds": "{seconds:.1f}",
        },
        rows,
        [
            "Published: Tzeng et al. 2017, LeNet on images of 28 x 28, from memory.",
            "+-: standard error over seeds. Gain: over source only, seed by seed. "
            f"{CONTROL}: no adaptation but by batch norm, which sees both domains. "
            f"{CEILING}: trained on half of the target, scored on the other.",
            *verdicts({row["row"]: row["mean"] for row in rows}),
        ],
    )


def _row(name, values, seconds):
    mean, floor = (np.mean(list(values[n].values()), axis=0) for n in (name, FLOOR))
    return {
        "row": name,
        "published": PUBLISHED.get(name),
        "tasks": {task: float(np.mean(v)) for task, v in values[name].items()},
        "errors": {task: _error(v) for task, v in values[name].items()},
        "seeds": values[name],
        "mean": float(mean.mean()),
        "error": _error(mean),
        "gain": float((mean - floor).mean()),
        "gain_error": _error(mean - floor),
        "seconds": float(np.mean(seconds[name])),
    }


def _error(values):
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def verdicts(mean):
    """Whether source only < DAN, Deep CORAL < the better of DANN and MCC."""
    best = max((DANN, MCC), key=mean.get)
    failed = [
        f"{low} {mean[low]:.1f} is not below {high} {mean[high]:.1f}"
        for row in (DAN, CORAL)
        for low, high in ((FLOOR, row), (row, best))
        if mean[low] >= mean[high]
    ]
    if not failed:
        return [f"{FLOOR} < {DAN}, {CORAL} < {best}: holds."]
    return [f"{FLOOR} < {DAN}, {CORAL} < {best} does not hold: {'; '.join(failed)}."]
