"""Runs a script with the Python that has Twisted, whichever Python it was started with."""

import os
import pathlib
import sys

ENVIRONMENT = "master-4.3.0"


def with_twisted():
    """Starts the script again in the environment master-4.3.0 unless it runs there."""
    repository = pathlib.Path(__file__).resolve().parent.parent
    venvs = pathlib.Path(os.environ.get("GANGER_VENVS") or repository / ".venvs").absolute()
    python = venvs / ENVIRONMENT / "bin" / "python"
    if pathlib.Path(sys.prefix) == venvs / ENVIRONMENT:
        return
    if not python.exists():
        sys.exit(f"no environment {ENVIRONMENT}; run: python3 tests/python/venvs.py {ENVIRONMENT}")
    os.execv(python, [str(python), *sys.argv])
