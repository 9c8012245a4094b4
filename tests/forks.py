"""Programs that start at once: forks of a process that has imported what they need, where a new one takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Takes {"start": arguments, "environment", "output", "errors"}, for which it prints the process id of a fork, or
# {"wait": id}, for which it prints the exit code or minus the signal. A fork leaves the loop and runs the program.
SERVER = """
import json, os, signal, sys

imports, program = sys.argv[1:]
exec(imports)
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    process = os.fork()
    if not process:
        break
    print(process, flush=True)
else:
    sys.exit()
signal.alarm(60)  # none takes as long, unless it hangs
for number, name in ((1, "output"), (2, "errors")):
    os.dup2(os.open(request[name], os.O_WRONLY), number)
os.environ.update(request["environment"])
sys.argv = ["program", *request["start"]]
exec(program)
"""


class Forks:
    """A process that has run `imports`, whose forks run `program`, both Python."""

    def __init__(self, imports: str, program: str, folder: Path) -> None:
        self.folder, self.count = folder, 0
        line = [sys.executable, "-c", SERVER, imports, program]
        self.server = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"

    def start(self, *arguments: object, **environment: object) -> Fork:
        """A process with these arguments and these further variables in its environment."""
        self.count += 1
        output, errors = (self.folder / f"{self.count}.{kind}" for kind in ("output", "errors"))
        output.touch(), errors.touch()  # which a process that is killed at once would not do
        request: dict[str, object] = {"start": [*map(str, arguments)], "output": str(output), "errors": str(errors)}
        request["environment"] = {name: str(value) for name, value in environment.items()}
        return Fork(self, self.ask(request), output, errors)

    def ask(self, request: dict[str, object]) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(request), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def close(self) -> None:
        self.server.communicate()


@dataclass
class Fork:
    """One of them; `output` and `errors` are files with what it has written."""

    forks: Forks
    id: int
    output: Path
    errors: Path

    def wait(self) -> int:
        """Its exit code when it has ended, or minus the signal that ended it."""
        return self.forks.ask({"wait": self.id})
