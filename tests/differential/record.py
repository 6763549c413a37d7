# Run at the end of a stock worker's buildbot.tac: writes down what the master calls on the worker's builders, as the
# worker understood it, one JSON object a line.
import json
import os

from buildbot_worker.pb import WorkerForBuilderPbLike


def plain(value):
    """Python's value as JSON; what JSON has not is an object that names its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    return {"object": type(value).__name__}


def recording(name, method):
    def call(self, *args):
        with open(os.path.join(self.bot.basedir, "calls.jsonl"), "a") as out:
            out.write(json.dumps({"builder": self.name, "call": name, "args": plain(list(args))}) + "\n")
        return method(self, *args)

    return call


for each in dir(WorkerForBuilderPbLike):
    if each.startswith("remote_") and each != "remote_setMaster":
        setattr(WorkerForBuilderPbLike, each, recording(each[7:], getattr(WorkerForBuilderPbLike, each)))
