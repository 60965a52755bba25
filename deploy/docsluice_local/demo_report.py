"""What the demo prints at its end: a table of the results, what they cost, and what to try next."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from docsluice.outcomes.outcome import Outcome
from docsluice_consumer.llm.pricing import Prices
from docsluice_consumer.model_ref import model_ref
from docsluice_local.demo_lines import name_of, next_steps, right_labels
from docsluice_local.model import MODEL_NAME
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.following.columns import cell
from docsluice_producer.following.tally import Tally

_COMPARED_WITH = model_ref("gpt-4o-mini")
LABELS = Path(__file__).parent / "labels.json"
_SHOWN_ALIVE = "summary"
"""It was shown as it came, and is too long for a table."""


def report(console: Console, outcomes: Sequence[Outcome], tally: Tally, *, model: str, results: Path) -> None:
    """Print every outcome, the totals, and where the results are."""
    names = [name for name in dict.fromkeys(name for one in outcomes for name in one.outputs) if name != _SHOWN_ALIVE]
    table = Table(title=f"What {model} made of the documents", expand=True)
    table.add_column("document", style="bold", overflow="fold", ratio=4)
    for name in names:
        table.add_column(Text(printable(name)), overflow="fold", ratio=5 if name == "keywords" else 2)
    for outcome in sorted(outcomes, key=lambda one: one.document_id):
        cells = [Text(printable(cell(outcome.outputs.get(name)))) for name in names]
        if outcome.is_dead_letter:
            why = printable(f"dead letter: {outcome.reason}: {outcome.message}")
            cells = [*(Text("") for _ in names[1:]), Text(why, style="red")]
        table.add_row(Text(name_of(outcome)), *cells)
    console.print(table)
    if model == MODEL_NAME:
        _judge(console, outcomes)
    _print_totals(console, tally, model=model)
    console.print(f"results: {results}")
    for line in next_steps(is_local=model == MODEL_NAME):
        console.print(line)


def _judge(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Say how good the small model is, where a person has labelled the documents."""
    said = {one.document_id.removesuffix(".txt"): str(one.outputs.get("category")) for one in outcomes}
    right, labelled = right_labels(said, json.loads(LABELS.read_text(encoding="utf-8")))
    if labelled:
        console.print(f"{right} of {labelled} categories are those that a person gave.")
    console.print(f"{MODEL_NAME} has 135 million parameters: what it writes freely shows the machinery only.")


def _print_totals(console: Console, tally: Tally, *, model: str) -> None:
    usage = tally.usage
    console.print(f"{tally.results} results, {tally.dead_letters} dead letters, {tally.repeats} repeats")
    console.print(
        f"{usage.input_tokens:,} tokens in ({usage.cached_tokens:,} cached), "
        f"{usage.output_tokens:,} out: ${tally.cost_usd:.6f} on {model}"
    )
    compared = Prices().cost_usd(_COMPARED_WITH, usage)
    if model != str(_COMPARED_WITH) and compared is not None:
        console.print(f"the same tokens on {_COMPARED_WITH}: ${compared:.6f}")
    if tally.documents_per_hour:
        console.print(f"{tally.documents_per_hour:,.0f} documents an hour")
