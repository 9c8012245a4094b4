"""Folders of any size on a cluster: Ray Data shares the pictures out, and each of its actors holds a pipeline.

Needs the package ray[data].

python examples/ray_data.py photos/ -o restored --actors 4
RAY_ADDRESS=auto python examples/ray_data.py /shared/photos -o /shared/restored --actors 64 --gpus 1
python examples/ray_data.py s3://bucket/photos -o s3://bucket/restored --actors 64 --gpus 1

All machines of the cluster must see the files under the same names, and need lightendiff. What is done is left out:
after an interruption, start it again. Ray gives the pictures of a machine that fails to others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lightendiff import LightenPipeline
from lightendiff.batch.plan import Job, plan
from lightendiff.batch.run import restore_files
from lightendiff.files.locations import located

BLOCK = 1000  # pictures of which Ray moves the names together
BATCH = 16  # that an actor restores at a time


class Actor:
    """A pipeline that stays in memory, and restores files."""

    def __init__(self, weights: str | None) -> None:
        self.restore = LightenPipeline.from_pretrained(weights).bind()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The problems (n,) with the n pictures of a batch, "" where there is none."""
        problems = []
        for source, target in zip(batch["source"], batch["target"], strict=True):
            said: list[str] = []
            job = Job(located(str(source)), located(str(target)))
            restore_files([job], self.restore, many=self.restore.many, failed=said.append)
            problems.append(" ".join(said))
        return {"source": batch["source"], "problem": np.array(problems, dtype=object)}


def blocks(jobs: Sequence[Job]) -> Iterator[Any]:
    """Tables of Arrow with the names of the jobs' files, some at a time."""
    import pyarrow

    for start in range(0, len(jobs), BLOCK):
        some = jobs[start : start + BLOCK]
        names = {"source": [str(job.source) for job in some], "target": [str(job.target) for job in some]}
        yield pyarrow.table(names)


def restored(jobs: Sequence[Job], weights: str | None, actors: int, **resources: float) -> Iterator[dict[str, Any]]:
    """Restore; a row with "source" and "problem" for every picture, as they get done."""
    import ray

    dataset = ray.data.from_arrow(list(blocks(jobs)))
    results = dataset.map_batches(
        Actor,
        fn_constructor_kwargs={"weights": weights},
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=actors),
        **resources,
    )
    yield from results.iter_rows()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Restore folders of photos with Ray Data.")
    parser.add_argument("input", metavar="INPUT", nargs="+", help="photos, folders, or addresses of them")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder, or its address")
    parser.add_argument("--actors", metavar="N", type=int, default=1, help="pipelines; default: %(default)s")
    parser.add_argument("--gpus", metavar="N", type=float, default=0, help="for each of them; default: %(default)s")
    parser.add_argument("--cpus", metavar="N", type=float, default=1, help="for each of them; default: %(default)s")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    planned = plan(args.input, args.output, recursive=True, skip_existing=True)
    problems = list(planned.problems)
    rows = restored(planned.jobs, args.weights, args.actors, num_gpus=args.gpus, num_cpus=args.cpus)
    done = 0
    for row in rows if planned.jobs else ():
        done += not row["problem"]
        if row["problem"]:
            problems.append(row["problem"])
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    print(f"{done} restored, {len(planned.skipped)} skipped, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
