"""From a step as ganger.toml has it to Buildbot's: the names are the same, only a few values are not data there."""

import re

from buildbot.plugins import steps, util
from buildbot.process import results

PROPERTY = {"property", "default", "defaultWhenFalse"}


def value(found):
    """What may depend on the build: templates and properties."""
    if isinstance(found, str):
        return util.Interpolate(found) if "%(" in found else found
    if isinstance(found, list):
        return [value(each) for each in found]
    if isinstance(found, dict):
        if "property" in found and found.keys() <= PROPERTY:
            arguments = {name: argument for name, argument in found.items() if name != "property"}
            return util.Property(found["property"], **arguments)
        return {name: value(each) for name, each in found.items()}
    return found


def decode_rc(table):
    return {int(code): getattr(results, name) for code, name in table.items()}


def extract(table):
    """The function that `extract` of ganger.toml stands for."""

    def extract_fn(rc, stdout, stderr):
        found = {}
        for entry in table:
            for line in (stdout + "\n" + stderr).splitlines():
                match = re.search(entry["pattern"], line)
                if match:
                    found[entry["property"]] = match.group(1) if match.re.groups else match.group(0)
                    break
        return found

    return extract_fn


def suppressions(tables):
    return [tuple(table.get(name) for name in ("file", "text", "start", "end")) for table in tables]


# Arguments that are another kind of thing in Python: the name there, and how it is made.
SPECIAL = {
    "decodeRC": ("decodeRC", decode_rc),
    "extract": ("extract_fn", extract),
    "suppressionList": ("suppressionList", suppressions),
    "retry": ("retry", tuple),
    # Buildbot calls what is no `bool` yet when it has rendered it.
    "doStepIf": ("doStepIf", lambda found: found if isinstance(found, bool) else util.Transform(bool, value(found))),
    "commands": ("commands", lambda tables: [util.ShellArg(**value(table)) for table in tables]),
    "warningExtractor": (
        "warningExtractor",
        lambda name: getattr(steps.WarningCountingShellCommand, name),
    ),
}


def step(table):
    arguments = {}
    for name, found in table.items():
        if name in SPECIAL:
            name, make = SPECIAL[name]
            arguments[name] = make(found)
        elif name != "type":
            arguments[name] = value(found)
    return getattr(steps, table["type"])(**arguments)
