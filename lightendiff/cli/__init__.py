"""The command `lightendiff`: a module for each of its subcommands.

Such a module has HELP (one line), EXAMPLES (command lines), `add_arguments(parser)` and `run(args, error)`, which
returns the exit code; error(message) is for wrong arguments and doesn't return. Nothing heavy is imported before `run`.
"""

from ..runtime.process import tune_process

tune_process()  # every command passes here, before it imports PyTorch
