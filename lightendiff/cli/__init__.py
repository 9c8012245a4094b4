"""The command `lightendiff`: a module for each of its subcommands.

Such a module has HELP (one line), EXAMPLES (command lines), `add_arguments(parser)` and `run(args, error)`, which
returns the exit code; error(message) is for wrong arguments and doesn't return. Nothing heavy is imported before `run`.
"""

from ..runtime.waiting import wait_without_spinning

wait_without_spinning()  # every command passes here, before it imports PyTorch
