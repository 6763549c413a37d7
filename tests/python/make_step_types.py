#!/usr/bin/env python3
"""Writes what Buildbot's steps take, for our own schemas to be held against.

    make_step_types.py [FILE]

Run it with a Python that has the Buildbot master of the version that is to be matched. FILE defaults to
`protocol-fixtures/vectors/step-types.json`. For each type: its default name and descriptions, its flags, its arguments with
their defaults (`null` also stands for required ones), and those that are renderable.
"""

import inspect
import json
import pathlib
import re
import sys

import buildbot
from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.plugins import steps
from buildbot.steps.shell import WarningCountingShellCommand
from twisted.python.reflect import accumulateClassList

FILE = pathlib.Path(__file__).resolve().parents[2] / "protocol-fixtures" / "vectors" / "step-types.json"

TYPES = [
    "ShellCommand", "ShellSequence", "Configure", "Compile", "Test", "WarningCountingShellCommand",
    "SetPropertyFromCommand", "SetProperty", "SetProperties", "Git", "FileUpload", "DirectoryUpload",
    "MultipleFileUpload", "FileDownload", "StringDownload", "JSONStringDownload", "JSONPropertiesDownload",
    "FileExists", "MakeDirectory", "RemoveDirectory", "CopyDirectory", "GitHub", "GitLab", "MasterShellCommand", "CMake",
    "SetPropertiesFromEnv", "Assert", "HTTPStep", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "Trigger",
]
FLAGS = ["alwaysRun", "flunkOnFailure", "flunkOnWarnings", "haltOnFailure", "warnOnFailure", "warnOnWarnings"]


def arguments(cls):
    """Arguments by name, from the most derived class; a class that passes on nothing ends the walk."""
    found = {}
    if issubclass(cls, ShellMixin):
        found |= {name: getattr(cls, name) for name, _ in ShellMixin._shell_mixin_arg_config}
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if base in (BuildStep, object) or init is None:
            continue
        for parameter in inspect.signature(init).parameters.values():
            if parameter.name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            default = None if parameter.default is parameter.empty else parameter.default
            if default is getattr(WarningCountingShellCommand, "_sentinel"):
                default = None
            # What the constructor leaves alone comes from the class.
            if default is None:
                default = getattr(cls, parameter.name, None)
            found.setdefault(parameter.name, None)
            if found[parameter.name] is None and not isinstance(default, property):
                found[parameter.name] = default
        # Some are taken from what is passed on.
        for name, default in re.findall(r"kwargs\.pop\(['\"](\w+)['\"], ([^)]*)\)", inspect.getsource(init)):
            found.setdefault(name, eval(default))
    for name in getattr(cls, "requestsParams", []):
        found.setdefault(name, None)
    common = {"description", "descriptionDone", "descriptionSuffix"}
    return {name: plain(default) for name, default in sorted(found.items()) if name not in common}


def plain(value):
    if isinstance(value, property) or callable(value):
        return None
    if isinstance(value, dict):
        return {str(key): entry for key, entry in value.items()}
    return value


def words(value):
    return [value] if isinstance(value, str) else value or []


def main():
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    document = {"made_by": "tests/python/make_step_types.py", "buildbot": buildbot.version}
    document["common"] = sorted(BuildStep._params_names)
    document["types"] = {}
    for name in TYPES:
        cls = getattr(steps, name, None) or globals()[name]
        renderables = []
        accumulateClassList(cls, "renderables", renderables)
        document["types"][name] = {
            "name": cls.name,
            "description": words(cls.description),
            "descriptionDone": words(cls.descriptionDone),
            "flags": {flag: getattr(cls, flag) for flag in FLAGS},
            "arguments": arguments(cls),
            "renderables": sorted(set(renderables)),
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {len(document['types'])} types")


if __name__ == "__main__":
    main()
