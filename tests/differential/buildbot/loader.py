"""From steps and schedulers as ganger.toml has them to Buildbot's: the names are the same, only a few values are not data."""

import re

from buildbot.plugins import schedulers, steps, util
from buildbot.process import results
from jinja2 import Environment

PROPERTY = {"property", "default", "defaultWhenFalse"}


def is_expression(found):
    return isinstance(found, dict) and found.keys() == {"expression"}


def expression(found):
    """What an expression stands for: a function of its names."""
    compiled = Environment().compile_expression(found["expression"])
    constants = {name.upper(): code for code, name in enumerate(results.Results)}
    return lambda **names: compiled(**constants | names)


def of_build(build):
    """What expressions see of a build."""
    source, *others = (stamp.asDict() for stamp in build.getAllSourceStamps())
    return {
        "prop": {name: found for name, (found, _) in build.getProperties().asDict().items()},
        "src": source if not others else {stamp["codebase"]: stamp for stamp in (source, *others)},
        "build": {"number": build.number, "builder": build.builder.name, "results": build.results},
        "results": build.results,
    }


def value(found):
    """What may depend on the build: templates and properties."""
    if isinstance(found, str):
        return util.Interpolate(found) if "%(" in found else found
    if isinstance(found, list):
        return [value(each) for each in found]
    if isinstance(found, dict):
        if is_expression(found):
            evaluate = expression(found)
            return util.renderer(lambda properties: evaluate(**of_build(properties.getBuild())))
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


def hide(found):
    """Asked with the results of the step."""
    if not is_expression(found):
        return lambda _, step: bool(step.build.getProperty(found["property"], found.get("default")))
    evaluate = expression(found)
    return lambda of_step, step: bool(evaluate(**of_build(step.build) | {"results": of_step}))


def suppressions(tables):
    return [tuple(table.get(name) for name in ("file", "text", "start", "end")) for table in tables]


# Arguments that are another kind of thing in Python: the name there, and how it is made.
SPECIAL = {
    "decodeRC": ("decodeRC", decode_rc),
    "extract": ("extract_fn", extract),
    "suppressionList": ("suppressionList", suppressions),
    "retry": ("retry", tuple),
    "auth": ("auth", lambda words: tuple(value(words))),
    "hideStepIf": ("hideStepIf", lambda found: found if isinstance(found, bool) else hide(found)),
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


def of_change(change):
    """What expressions see of a change."""
    names = "files comments branch revision category repository project codebase".split()
    seen = {name: getattr(change, name) for name in names}
    return seen | {"who": change.who, "properties": {name: found for name, (found, _) in change.properties.asDict().items()}}


def judging(found):
    """A function of a change, from an expression."""
    evaluate = expression(found)
    return lambda change: bool(evaluate(change=of_change(change)))


def important(found):
    if is_expression(found):
        return judging(found)
    return lambda change: any(re.match(pattern, file) for pattern in found for file in change.files)


def priority(found):
    if not is_expression(found):
        return found
    evaluate = expression(found)

    def of_changes(builders, changes):
        # As they are in the database, unlike what filters get.
        found = sorted((change for each in changes.values() for change in each), key=lambda change: change.changeid)
        return evaluate(builderNames=builders, changes=[{"branch": change.branch, "files": change.files} for change in found])

    return of_changes


def change_filter(table):
    # The empty text is for changes without a branch.
    kept = {name: (None if name == "branch" and found == "" else found) for name, found in table.items()}
    if "filter_fn" in kept:
        kept["filter_fn"] = judging(kept["filter_fn"])
    return util.ChangeFilter(**kept)


# Schedulers so far, by name.
made = {}

OF_SCHEDULERS = {
    "fileIsImportant": important,
    "priority": priority,
    "change_filter": change_filter,
    "branch": lambda name: name or None,
    "upstream": made.get,
    # A template of its own.
    "reason": str,
}


def scheduler(table):
    arguments = {
        name: OF_SCHEDULERS.get(name, value)(found) for name, found in table.items() if name != "type"
    }
    made[table["name"]] = getattr(schedulers, table["type"])(**arguments)
    return made[table["name"]]
