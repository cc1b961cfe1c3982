"""Measure a large file or directory with Ray tasks: a scan that is a job of its own.

    pip install 'atlas-provenance[ray]'
    python examples/ray_digest.py /shared/data --tasks 8

Every worker must see the same file system. What travels are records: a few lines for a file, the lines of the index
for a directory. A task that fails is tried again by Ray; parts of different versions are never put together.
"""

from __future__ import annotations

import argparse

import ray

from atlas.model import Measurement
from atlas.parts import measure_part, measurement_of, merge_parts


@ray.remote(max_retries=2)
def part(path: str, number: int, tasks: int) -> bytes:
    return measure_part(path, share=(number, tasks), threads=1)


def digest(path: str, tasks: int) -> Measurement:
    """One core for each task, wherever Ray finds it."""
    return measurement_of(merge_parts(ray.get([part.remote(path, number, tasks) for number in range(tasks)])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--tasks", type=int, default=4)
    args = parser.parse_args()
    ray.init(log_to_driver=False)
    measured = digest(args.path, args.tasks)
    print(f"{measured.tree}  {args.path}")
    ray.shutdown()


if __name__ == "__main__":
    main()
