"""Figures of the literature and times beside other libraries, measured again.

``python -m benchmarks --list`` names the benchmarks.
"""

import os
from pathlib import Path

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

if not os.environ.get("SKADAPT_DATA") and _DATA.is_dir():
    os.environ["SKADAPT_DATA"] = str(_DATA)
