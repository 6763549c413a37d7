#!/usr/bin/env python3
"""Buildbot 4.3 and Ganger under the same load, and what it cost each.

    compare.py [SCENARIO …] [--only buildbot|ganger] [--ganger PATH] [--json FILE]

Measured are the CPU seconds (user and system) of the master's process alone, by its own clock, and its memory: wall times say
little on a machine that does other work. Both masters get the same workers (workers.py), the same changes (changes.py), the
same builders, an SQLite database, and are watched in the same way: through the tables that both keep.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import scenarios
from masters import REPOSITORY, Buildbot, Failed, Ganger


def catalogue(arguments, directory):
    """Scenarios by name: what each says of itself, and its run with a master that `make` makes."""
    program = arguments.ganger
    return {
        "attach": ("100 workers attach", lambda make: scenarios.attach(make, 100)),
        "attach-1000": ("1000 workers attach", lambda make: scenarios.attach(make, 1000)),
        "attach-10000": ("10000 workers attach (only Ganger)", lambda make: scenarios.attach(make, 10_000)),
        "builds": ("200 builds of 5 steps", lambda make: scenarios.builds(make, 200)),
        "log": ("one log of 8 MB", lambda make: scenarios.logs(make, 100_000, 1)),
        "log-80": ("one log of 80 MB", lambda make: scenarios.logs(make, 1_000_000, 1)),
        "logs": ("fifty logs of 8 MB at once", lambda make: scenarios.logs(make, 100_000, 50)),
        "logs-80": ("fifty logs of 80 MB at once (only Ganger)", lambda make: scenarios.logs(make, 1_000_000, 50)),
        "pending": (
            "25,000 pending requests",
            lambda make: scenarios.pending(make, program, directory, 25_000),
        ),
        "configuration": ("1,000 builders, 200 workers", lambda make: scenarios.configuration(make, 1000, 200)),
        "growth-builders": ("2,000 builds, 200 builders", lambda make: scenarios.builds(make, 200, builders=200)),
        "growth-workers": ("200 builds, 1000 workers", lambda make: scenarios.builds(make, 200, workers=1000)),
    }


# What Buildbot would take an hour for, or more.
ONLY_GANGER = {"attach-10000", "logs-80", "growth-builders", "growth-workers"}
USUAL = ("attach", "builds", "log")


def run(name, work, arguments, directory):
    """The figures of a scenario: by what they are, with one value for each master."""
    figures = {}
    for number, kind in enumerate((Buildbot, Ganger)):
        if arguments.only not in (None, kind.name) or (kind is Buildbot and name in ONLY_GANGER):
            continue
        place = directory / f"{name}-{number}"

        def make(settings):
            settings.compression = arguments.log_compression
            return kind(place, settings, arguments.ganger)

        for what, value, unit in work(make):
            print(f"  {kind.name}: {what}: {value:.3f} {unit}", flush=True)
            figures.setdefault((what, unit), {})[kind.name] = value
    return [{"scenario": name, "what": what, "unit": unit, **values} for (what, unit), values in figures.items()]


def table(rows):
    print("\n| what | | Buildbot | Ganger | ratio |\n|---|---|---|---|---|")
    for row in rows:
        pair = [row.get("buildbot"), row.get("ganger")]
        shown = ["" if value is None else f"{value:.{2 if value >= 1 else 3}f}" for value in pair]
        ratio = f"{pair[0] / pair[1]:.0f}" if None not in pair and pair[1] > 0 else ""
        print(f"| {row['what']} | {row['unit']} | {shown[0]} | {shown[1]} | {ratio} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help=f"{', '.join(USUAL)} without any; `all`; `list` says which there are")
    parser.add_argument("--only", choices=("buildbot", "ganger"))
    parser.add_argument(
        "--ganger", default=str(REPOSITORY / "target" / "release" / "ganger"), help="the program; a release build"
    )
    parser.add_argument(
        "--log-compression",
        default="gz",
        choices=("none", "gz", "lz4", "zstd"),
        help="Ganger's; Buildbot takes gz unless more is installed",
    )
    parser.add_argument("--json", help="write all numbers to this file")
    parser.add_argument("--keep", action="store_true", help="keep the masters' directories")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ganger-load-"))
    known = catalogue(arguments, directory)
    names = list(known) if arguments.scenario == ["all"] else arguments.scenario or list(USUAL)
    if names == ["list"]:
        for name, (text, _) in known.items():
            print(f"{name:16} {text}")
        return
    if unknown := [name for name in names if name not in known]:
        raise Failed(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    rows = []
    try:
        for name in names:
            print(known[name][0], flush=True)
            rows += run(name, known[name][1], arguments, directory)
    finally:
        if arguments.keep:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    table(rows)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"compare.py: {failure}")
