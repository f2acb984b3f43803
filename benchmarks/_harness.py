"""What every benchmark prints and keeps."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from threadpoolctl import threadpool_info

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DISTRIBUTIONS = ("numpy", "scipy", "scikit-learn", "skadapt", "numba", "torch")


@dataclass
class Table:
    """One table of a benchmark.

    Parameters
    ----------
    title : str
        What was measured.

    columns : dict of str to str
        Heading and format of each printed column, such as
        ``{"target": "{ratio:.1f} x"}``, filled with the items of a row; a cell
        whose items are absent or None prints as "-".

    rows : list of dict
        Items by name; the JSON keeps also those that no column prints.

    notes : list of str
        Lines under the table.
    """

    title: str
    columns: dict
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def __str__(self):
        cells = [list(self.columns)]
        cells += [[_cell(c, row) for c in self.columns.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(["", self.title, "", *lines, *self.notes])

    def as_dict(self):
        """What the JSON keeps."""
        return {"title": self.title, "rows": self.rows, "notes": self.notes}


def _cell(template, row):
    try:
        return template.format(**row)
    except (KeyError, TypeError):  # None takes no number format
        return "-"


def report(name, tables):
    """Everything that a results file holds."""
    return {
        "benchmark": name,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "commit": commit(),
        "machine": machine(),
        "tables": [table.as_dict() for table in tables],
    }


def save(name, tables):
    """Write ``benchmarks/results/NAME.json`` and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report(name, tables), indent=1) + "\n")
    return path


def commit():
    """Short name of the commit; "(changed)" after it if the tree is not that one."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} (changed)" if changed else name


def _git(*arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def machine():
    """Processor, cores, threads of the numerical libraries, memory."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        cpu = re.search(r"model name\s*:\s*(.+)", text)[1]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, TypeError, ValueError):
        cpu, memory = platform.processor() or platform.machine(), None
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": max((pool["num_threads"] for pool in threadpool_info()), default=1),
        "memory_gb": memory and round(memory / 2**30),
    }
