#!/usr/bin/env python3
"""make bench: the broker against the floor, and against itself with and without limits.

The server runs on CPU 0, the load on CPU 1. What is compared is run in interleaved rounds, each on a
fresh server and an empty data directory, in alternating order; the result is the median of the
rounds' ratios, with their spread. A ratio of something to itself (A/A) runs in the same rounds where
the goal is tight: a result inside that spread meets it.

Prints a table; writes build/bench/bench.json and bench.txt. Python's standard library only.
A row is a function in rows_*.py; what they share is in harness.py.
"""
import argparse
import json
import os
import subprocess
import sys

from harness import CPUS, LOAD_CPU, OUT, ROOT, ROWS, SERVER_CPU, Bench, Failed

# In the order of `make bench`: importing them fills ROWS.
import rows_speed  # noqa: F401 pylint: disable=unused-import
import rows_limits  # noqa: F401 pylint: disable=unused-import
import rows_rest  # noqa: F401 pylint: disable=unused-import
import rows_http  # noqa: F401 pylint: disable=unused-import
import rows_waiting  # noqa: F401 pylint: disable=unused-import


def parse_args():
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--broker", default=str(ROOT / "build/tidegate"))
    p.add_argument("--floor", default=str(ROOT / "build/release/bench/floor"))
    p.add_argument("--load", default=str(ROOT / "build/release/bench/load"))
    p.add_argument("--rounds", type=int, default=int(env("ROUNDS", "5")),
                   help="interleaved rounds (env ROUNDS; 5); the neighbour rows run at least 10")
    p.add_argument("--rows", default=env("ROWS", ",".join(ROWS)),
                   help="comma-separated (env ROWS); default all: " + ",".join(ROWS))
    p.add_argument("--seconds", type=float, default=float(env("SECONDS_MEASURED", "4")))
    p.add_argument("--warmup", type=float, default=1.0)
    p.add_argument("--neighbour-seconds", type=float, default=5.0)
    p.add_argument("--neighbour-warmup", type=float, default=3.0,
                   help="long enough for the limit's burst to be spent")
    p.add_argument("--starts", type=int, default=20)
    p.add_argument("--quick", action="store_true",
                   help="neighbour rows run --rounds rounds too, others with less of everything")
    p.add_argument("--against-itself", action="store_true",
                   help="the floor in the broker's place, without limits: tries the harness "
                        "(rows that need no REST)")
    return p.parse_args()


def main():
    args = parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "server.log").write_text("")
    if SERVER_CPU == LOAD_CPU:
        print("bench: only one CPU here: server and load share it", file=sys.stderr)
    bench = Bench(args)
    failures = []
    for name in args.rows.split(","):
        if name not in ROWS:
            sys.exit(f"bench: no row {name}; rows: {', '.join(ROWS)}")
        try:
            ROWS[name](bench)
        except (Failed, OSError, subprocess.SubprocessError) as e:
            failures.append(f"{name}: {e}")
            bench.say(f"FAILED {name}: {e}")
    table = bench.table()
    print(table)
    (OUT / "bench.txt").write_text(table + "\n")
    (OUT / "bench.json").write_text(json.dumps(
        {"rows": bench.rows, "failures": failures, "rounds": args.rounds,
         "load_average": os.getloadavg(), "cpus": len(CPUS)}, indent=1) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
