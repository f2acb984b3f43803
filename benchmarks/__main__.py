"""``python -m benchmarks NAME [--quick]``."""

import argparse
import pkgutil
from importlib import import_module

import benchmarks
from benchmarks._harness import save


def found():
    """The modules of this package that have a ``run``, by name."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    modules = {
        name: import_module(f"benchmarks.{name}")
        for name in names
        if not name.startswith("_")
    }
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def main():
    """Run one benchmark, print its tables and, unless quick, keep them as JSON."""
    modules = found()
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", nargs="?", choices=sorted(modules), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small, writes nothing")
    parser.add_argument("--list", action="store_true", help="the names")
    arguments = parser.parse_args()
    if arguments.list or arguments.name is None:
        for name, module in modules.items():
            print(f"{name:16}{module.__doc__.strip().splitlines()[0]}")
        return
    tables = []
    for table in modules[arguments.name].run(arguments.quick):
        print(table, flush=True)
        tables.append(table)
    if not arguments.quick:
        print(f"written: {save(arguments.name, tables).name}")


if __name__ == "__main__":
    main()
