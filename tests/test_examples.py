"""The README and the demo run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout


def test_readme_prints_what_it_says():
    blocks = re.findall(
        r"```(python)?\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    (language, code), (_, expected) = blocks[:2]
    assert language == "python"
    assert run("-c", code) == expected


def test_demo_prints_its_table_and_writes_its_figure(tmp_path):
    out = run("examples/demo_digits.py", "--output", tmp_path)
    assert (tmp_path / "digits.png").stat().st_size > 10_000
    rows = {line.split("  ")[1]: line for line in out.splitlines() if line[:2] == "  "}
    # The floors that the data set is known for, and an adapter's gain over them.
    assert "51.25" in rows["none (source only)"]
    assert "63.11" in rows["PerDomain (means)"]
    assert "67.61" in rows["PerDomain"]
    assert "JDA helped most" in out
    assert "Worse than no adaptation: TCA" in out
    assert float(rows["EasyTL"].split()[1]) > 65
    assert float(rows["MEDA"].split()[1]) >= 84
    assert "Best of all: MEDA" in out
