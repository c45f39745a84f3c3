"""Runs of a DBOS workflow with one step, for `meshwork bench workflow --compare`.

    dbos_bench.py DATA_DIR --clients N --payload BYTES --seconds S --warm-up W [--wal]

DBOS is a library, so that its clients are threads of its own process which call the workflow: nothing is sent anywhere.
Its store is SQLite, the one that needs no server. As DBOS opens it every commit is fsynced (journal_mode=DELETE,
synchronous=FULL, SQLite's own defaults); with --wal the file is put into journal_mode=WAL before, which is quicker and with
synchronous=FULL as durable. Prints what it measured in one line of JSON.
"""

import argparse
import json
import resource
import sqlite3
import threading
import time
from importlib.metadata import version
from pathlib import Path

from dbos import DBOS


@DBOS.step()
def echo(value: dict) -> dict:
    return value


@DBOS.workflow()
def once(value: dict) -> dict:
    return echo(value)


def client(value: dict, until: float, latencies: list[int]) -> None:
    while (begun := time.perf_counter()) < until:
        if once(value) != value:
            raise RuntimeError("the workflow gave something else")
        latencies.append(int((time.perf_counter() - begun) * 1e6))


def loop(clients: int, value: dict, seconds: float) -> tuple[list[int], float]:
    """So many threads call the workflow again and again; gives the microseconds of each call, and how long it took."""
    each: list[list[int]] = [[] for _ in range(clients)]
    failed: list[BaseException] = []

    def guarded(latencies: list[int]) -> None:
        try:
            client(value, until, latencies)
        except BaseException as error:
            failed.append(error)

    begun = time.perf_counter()
    until = begun + seconds
    threads = [threading.Thread(target=guarded, args=(latencies,)) for latencies in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [latency for latencies in each for latency in latencies], time.perf_counter() - begun


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--payload", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--wal", action="store_true")
    options = parser.parse_args()
    file = options.directory / "dbos.sqlite"
    if options.wal:
        with sqlite3.connect(file) as store:
            store.execute("PRAGMA journal_mode=WAL")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{file}",
            # As many connections as clients: none waits for another one's.
            "sys_db_pool_size": max(20, options.clients + 4),
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    value = {"text": "x" * options.payload}
    loop(options.clients, value, options.warm_up)
    before = cpu()
    latencies, elapsed = loop(options.clients, value, options.seconds)
    used = cpu() - before
    with sqlite3.connect(file) as store:
        mode = store.execute("PRAGMA journal_mode").fetchone()[0]
    answer = {
        "version": version("dbos"),
        "journal_mode": mode,
        "latencies_us": latencies,
        "elapsed_s": elapsed,
        "cpu_s": used,
    }
    print(json.dumps(answer), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
