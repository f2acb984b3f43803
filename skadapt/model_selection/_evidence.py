"""What advice was worth on benchmark tasks, as ``benchmarks/choose.py`` wrote it.

No rule was tuned on these tasks, the third set of that benchmark.
"""

import json
from functools import cache
from pathlib import Path

PATH = Path(__file__).with_name("evidence.json")


# What was advised, in a sentence on what came of it.
_SUBJECTS = {"adopted": "the average", "label": "the correction"}


@cache
def evidence():
    """The figures.

    Returns
    -------
    figures : dict
        - "adopted", "label": tasks on which the average was advised, and on which
          class shares were corrected; a dict of "n_tasks", and of "gained" and "lost",
          those on which that was more than 2 points better and worse than no
          adaptation.
        - "error": dict of str to float, mean absolute error of each prediction of the
          target accuracy of models that are not adapted.
        - "error_of_average": float, that of the average's predicted accuracy.
    """
    return json.loads(PATH.read_text(encoding="utf-8"))


def percent(share):
    """A share in words, as a whole number of percent."""
    return f"{100 * share:.0f} %"


def record(kind, is_default):
    """A sentence on what such advice was worth."""
    found = evidence()[kind]
    whose = "" if is_default else " (three classifiers and the default adapters)"
    return (
        f"On {found['n_tasks']} benchmark tasks with this advice{whose} "
        f"{_SUBJECTS[kind]} gained more than 2 points on {found['gained']}, and lost "
        f"more than 2 on {found['lost']}."
    )
