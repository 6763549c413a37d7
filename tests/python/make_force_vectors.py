#!/usr/bin/env python3
"""Writes what Buildbot's ForceScheduler makes of what is asked of it, for our own to be held against.

    make_force_vectors.py [FILE]

Run it with a Python that has the Buildbot master of the version that is to be matched. FILE defaults to
`protocol-fixtures/vectors/force.json`. Each case has the scheduler as it stands in `ganger.toml`, `all_fields` as the data
API shows them, and requests: `owner` and `values`, each with what is asked of the database, or with `errors`.
"""

import json
import pathlib
import re
import sys
import types

import buildbot
from buildbot.config.master import MasterConfig
from buildbot.plugins import schedulers, util
from buildbot.schedulers.forcesched import (
    CollectedValidationError,
    PatchParameter,
)
from twisted.internet import defer

FILE = pathlib.Path(__file__).resolve().parents[2] / "protocol-fixtures" / "vectors" / "force.json"

U = util
CASES = [
    (
        "",
        {},
        [
            {},
            {"reason": "why", "branch": "main", "revision": "abc", "repository": "r", "project": "p", "priority": 7},
            {"reason": "  ", "branch": " ", "priority": "12"},
            {"username": "me", "priority": "x"},
            {"username": "Me <me@host.example>"},
            {"username": "me@host"},
            {"username": "a@b@c.d e"},
            {"username": "@host.example"},
            {"owner": "anonymous", "username": "x@y.z"},
            {"owner": "somebody", "username": "not looked at"},
            {"unknown": "value"},
        ],
    ),
    (
        """reason = { type = "StringParameter", name = "why", label = "Why?", required = true, size = 40 }
username = { type = "UserNameParameter", need_email = false, required = true, label = "Who?" }
priority = { type = "IntParameter", name = "priority", default = 3 }
buttonName = "Go"
label = "Start it"
reasonString = "%(reason)s of %(owner)s, 100%%"
""",
        {
            "reason": U.StringParameter(name="why", label="Why?", required=True, size=40),
            "username": U.UserNameParameter(need_email=False, required=True, label="Who?"),
            "priority": U.IntParameter(name="priority", default=3),
            "buttonName": "Go",
            "label": "Start it",
            "reasonString": "%(reason)s of %(owner)s, 100%%",
        },
        [{}, {"why": "so"}, {"why": "so", "username": "me"}, {"why": "", "owner": "me"}, {"why": "b", "owner": "me", "priority": -2}],
    ),
    (
        """properties = [
    { name = "text", default = "t", regex = "[a-z]+$", maxsize = 4, label = "Some text", tooltip = "letters" },
    { type = "TextParameter", name = "lines", cols = 60, rows = 5, tablabel = "tab" },
    { type = "IntParameter", name = "number", hide = true },
    { type = "IntParameter", name = "numbers", multiple = true, default = [1, 2] },
    { type = "BooleanParameter", name = "truth", default = true },
    { type = "BooleanParameter", name = "falsehood" },
    { type = "ChoiceStringParameter", name = "choice", choices = ["a", "it's", 'a "word"'], default = "a" },
    { type = "ChoiceStringParameter", name = "must", choices = ["a", "b"] },
    { type = "ChoiceStringParameter", name = "some", choices = ["a", "b"], multiple = true, default = ["b"] },
    { type = "ChoiceStringParameter", name = "none", choices = ["a", "b"], multiple = true },
    { type = "ChoiceStringParameter", name = "free", choices = ["a"], strict = false, default = "a", autopopulate = { a = { text = "x", number = 1 } } },
    { type = "FixedParameter", name = "fixed", default = "f" },
    { type = "FileParameter", name = "file" },
    { type = "WorkerChoiceParameter", default = "-any-" },
    { type = "AnyPropertyParameter", name = "any" },
    { type = "UserNameParameter", name = "second" },
]
""",
        {
            "properties": [
                U.StringParameter(name="text", default="t", regex="[a-z]+$", maxsize=4, label="Some text", tooltip="letters"),
                U.TextParameter(name="lines", cols=60, rows=5, tablabel="tab"),
                U.IntParameter(name="number", hide=True),
                U.IntParameter(name="numbers", multiple=True, default=[1, 2]),
                U.BooleanParameter(name="truth", default=True),
                U.BooleanParameter(name="falsehood"),
                U.ChoiceStringParameter(name="choice", choices=["a", "it's", 'a "word"'], default="a"),
                U.ChoiceStringParameter(name="must", choices=["a", "b"]),
                U.ChoiceStringParameter(name="some", choices=["a", "b"], multiple=True, default=["b"]),
                U.ChoiceStringParameter(name="none", choices=["a", "b"], multiple=True, default=[]),
                U.ChoiceStringParameter(
                    name="free", choices=["a"], strict=False, default="a", autopopulate={"a": {"text": "x", "number": 1}}
                ),
                U.FixedParameter(name="fixed", default="f"),
                U.FileParameter(name="file"),
                U.WorkerChoiceParameter(default="-any-"),
                U.AnyPropertyParameter(name="any"),
                U.UserNameParameter(name="second"),
            ]
        },
        [
            {"must": "a"},
            {},
            {
                "must": "b",
                "text": "abc",
                "lines": "one\ntwo\n",
                "number": "17",
                "numbers": ["3", 4],
                "truth": False,
                "falsehood": True,
                "some": ["a", "b"],
                "none": ["a"],
                "free": "z",
                "file": "a\0b",
                "workername": "w",
                "any_name": "extra",
                "any_value": "5",
                "second": "x@y.example",
            },
            {
                "must": "c",
                "text": "12345",
                "lines": ["one", "two"],
                "number": "x",
                "numbers": ["1", "it's"],
                "choice": "it's not",
                "some": ["a", "c"],
                "any_name": "a b",
                "any_value": "v",
                "second": "x",
            },
            {"must": "a", "text": "abcde", "any_value": "only"},
            {"must": "a", "any_name": "x", "any_value": "a\u00e4.-/~:"},
            {"must": "a", "number": [], "text": ["", "b"]},
        ],
    ),
    (
        """properties = [
    { type = "NestedParameter", name = "", label = "group", layout = "tabs", columns = 3, fields = [{ name = "inner", default = "i" }] },
    { type = "NestedParameter", name = "nest", fields = [
        { name = "x", default = "1" },
        { name = "y", default = "2", required = true },
        { type = "NestedParameter", name = "deep", fields = [{ type = "IntParameter", name = "z" }, { type = "FixedParameter", name = "h" }] },
        { type = "NestedParameter", name = "", fields = [{ name = "flat" }] },
        { type = "AnyPropertyParameter", name = "more" },
    ] },
    { type = "PatchParameter", name = "diff", level = { default = 0 } },
]
""",
        {
            "properties": [
                U.NestedParameter(
                    name="", label="group", layout="tabs", columns=3, fields=[U.StringParameter(name="inner", default="i")]
                ),
                U.NestedParameter(
                    name="nest",
                    fields=[
                        U.StringParameter(name="x", default="1"),
                        U.StringParameter(name="y", default="2", required=True),
                        U.NestedParameter(
                            name="deep", fields=[U.IntParameter(name="z"), U.FixedParameter(name="h")]
                        ),
                        U.NestedParameter(name="", fields=[U.StringParameter(name="flat")]),
                        U.AnyPropertyParameter(name="more"),
                    ],
                ),
                PatchParameter(name="diff", level=U.IntParameter(name="level", default=0)),
            ]
        },
        [
            {"nest_y": "Y"},
            {"nest_y": "Y", "inner": "I", "nest_deep_z": "5", "nest_flat": "F", "nest_more_name": "n", "nest_more_value": "v", "diff_body": "x"},
            {"nest_deep_z": "y", "nest_more_name": "?"},
        ],
    ),
    (
        """codebases = [
    "app",
    { codebase = "lib", name = "l", label = "The library", branch = { type = "ChoiceStringParameter", choices = ["main", "dev"], default = "main" }, repository = "r", project = false, patch = { type = "PatchParameter" } },
    { type = "CodebaseParameter", codebase = "hidden", hide = true, revision = { default = "HEAD" } },
]
""",
        {
            "codebases": [
                "app",
                U.CodebaseParameter(
                    codebase="lib",
                    name="l",
                    label="The library",
                    branch=U.ChoiceStringParameter(name="branch", choices=["main", "dev"], default="main"),
                    repository="r",
                    project=None,
                    patch=PatchParameter(),
                ),
                U.CodebaseParameter(codebase="hidden", hide=True, revision=U.StringParameter(name="revision", default="HEAD")),
            ]
        },
        [
            {},
            {
                "l_branch": "dev",
                "app_revision": "abc",
                "app_project": "P",
                "l_patch_body": "diff",
                "l_patch_level": "0",
                "l_patch_author": "me",
                "hidden_revision": "",
            },
            {"l_branch": "other", "l_patch_level": "up"},
        ],
    ),
    (
        """codebases = [{ codebase = "", branch = "main", revision = false }]
""",
        {"codebases": [U.CodebaseParameter(codebase="", branch="main", revision=None)]},
        [{}, {"repository": "R"}],
    ),
]


def settled(deferred):
    result = []
    deferred.addBoth(result.append)
    if isinstance(result[0], Exception) or hasattr(result[0], "value"):
        raise getattr(result[0], "value", result[0])
    return result[0]


def shown(value):
    if isinstance(value, re.Pattern):
        return value.pattern
    raise TypeError(value)


class Recorder(schedulers.ForceScheduler):
    asked = None
    # What a service finds through its parents.
    master = types.SimpleNamespace(config=types.SimpleNamespace(validation=MasterConfig().validation))

    def addBuildsetForSourceStamps(self, **asked):
        self.asked = asked
        return defer.succeed((1, {}))


def case(toml, arguments, requests):
    scheduler = Recorder(name="force", builderNames=["b"], **arguments)
    settled(scheduler.reconfigService(builderNames=["b"], **arguments))
    made = []
    for request in requests:
        values = {name: value for name, value in request.items() if name != "owner"}
        copy = json.loads(json.dumps(values))
        entry = {"owner": request.get("owner"), "values": values}
        try:
            settled(scheduler.force(request.get("owner"), builderNames=["b"], **copy))
        except CollectedValidationError as error:
            entry["errors"] = error.errors
        else:
            asked = scheduler.asked
            properties = {name: value for name, (value, _) in asked["properties"].asDict().items()}
            entry["asked"] = {
                "reason": asked["reason"],
                "priority": asked["priority"],
                "properties": properties,
                "sourcestamps": asked["sourcestamps"],
            }
        made.append(entry)
    return {"toml": toml, "all_fields": [field.getSpec() for field in scheduler.all_fields], "requests": made}


def main():
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    vectors = {"buildbot": buildbot.version, "cases": [case(*one) for one in CASES]}
    file.write_text(json.dumps(vectors, indent=1, default=shown, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
