"""Run a sweep, then what it asks next, and print the answer: `docs/json.md`."""

import json
import shlex
import subprocess
from typing import Any


def run(command: str) -> Any:
    """Run a command, and return the object that it prints."""
    words = [*shlex.split(command), "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


sweep = run("mnist-tune regimes --smoke --output results/script")
if sweep["questions"]:
    step = sweep["questions"][0]
    print(f"{step['kind']}, {step['why']}: {step['command']}")
    sweep = run(step["command"])
print(sweep["text"]["headline"])
