"""`make bench` prints one table: utilisation, local-model, long-document, delivery, memory and odd-answers, or some.

`steadiness` takes half an hour and is measured only when it is named.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from tests.bench import delivery, local_model, long_document, memory, odd_answers, steadiness, utilisation


def main() -> None:
    """Run the chosen benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what", nargs="*", default=["utilisation", "local-model", "long-document", "delivery", "memory", "odd-answers"]
    )
    parser.add_argument(
        "--documents", type=int, help="fewer than 1,000 (utilisation), 100 (local-model), 3,000 (delivery)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of steadiness")
    arguments = parser.parse_args()
    table = Table("benchmark", "figure", "value")
    if "utilisation" in arguments.what:
        used = utilisation.measure(documents=arguments.documents or 1000)
        name = "30 slots, lognormal latency"
        table.add_row(name, "calls in seconds", f"{used.calls:,} in {used.seconds:.1f}")
        table.add_row(name, "utilisation (sum of latencies / 30 / time)", f"{used.ours:.3f}")
        table.add_row(name, "greedy bound on the same latencies", f"{used.bound:.3f}")
        table.add_row(name, "share of the bound", f"{used.ratio:.3f}")
    if "local-model" in arguments.what:
        made = local_model.measure(documents=arguments.documents or 100)
        name = "local model, fused"
        table.add_row(name, "documents", f"{made.results} results, {made.dead_letters} dead letters")
        table.add_row(name, "documents an hour", f"{made.documents_per_hour:,.0f}")
        table.add_row(name, "output tokens a second", f"{made.output_tokens / made.seconds:.0f}")
    if "long-document" in arguments.what:
        done = long_document.measure()
        name = f"{done.pages} pages, context of 8,192 tokens"
        table.add_row(name, "calls in seconds", f"{done.result['attempts']} in {done.seconds:.0f}")
        table.add_row(name, "summary", done.result["outputs"]["summary"])
        table.add_row(name, "tenths of the document it speaks of", ", ".join(map(str, done.tenths)))
    if "delivery" in arguments.what:
        cost = delivery.measure(documents=arguments.documents or 3000)
        name = "exactly once, Apache Kafka"
        table.add_row(name, "documents a second, at least once", f"{cost.at_least_once:.0f}")
        table.add_row(name, "documents a second, exactly once", f"{cost.exactly_once:.0f}")
        table.add_row(name, "ratio", f"{cost.ratio:.3f}")
    if "memory" in arguments.what:
        resident = memory.measure()
        name = "1,000,000 records of lag"
        table.add_row(name, "resident MB, start / middle / end", " / ".join(f"{resident[n]:.0f}" for n in (0, 4, 9)))
        table.add_row(name, "most", f"{max(resident):.0f}")
    if "odd-answers" in arguments.what:
        for name, odd in odd_answers.measure():
            pause = "endless" if odd.pause_seconds is None else f"{odd.pause_seconds:.3f}"
            figures = f"{pause} / {odd.seconds:.3f} / {odd.peak_mib:.0f}"
            table.add_row(name, "longest pause s / read after s / memory MiB", f"{figures}  {odd.outcome}")
    if "steadiness" in arguments.what:
        samples = steadiness.measure(minutes=arguments.minutes)
        name = f"{arguments.minutes:g} minutes"
        for figure in steadiness.FIGURES:
            values = [getattr(sample, figure) for sample in samples]
            ends = (
                f"{min(values):,.0f} to {max(values):,.0f}; last third / first {steadiness.last_to_first(values):.3f}"
            )
            table.add_row(
                f"{arguments.minutes:g} minutes of rare faults", figure, f"{ends}  {steadiness.spark(values)}"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
