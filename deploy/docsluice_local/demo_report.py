"""What the demo prints at its end: a table of the results, and what they cost."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from docsluice.outcomes.outcome import Outcome
from docsluice_consumer.llm.pricing import Prices
from docsluice_consumer.model_ref import model_ref
from docsluice_local.model import MODEL_NAME
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.following.columns import cell
from docsluice_producer.following.tally import Tally

_COMPARED_WITH = model_ref("gpt-4o-mini")


def report(console: Console, outcomes: Sequence[Outcome], tally: Tally, *, model: str, results: Path) -> None:
    """Print every outcome, the totals, and where the results are."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.outputs))
    table = Table(title=f"What {model} made of the documents", show_lines=True, expand=True)
    table.add_column("document", style="bold", overflow="ellipsis", no_wrap=True, ratio=2)
    for name in names:
        table.add_column(Text(printable(name)), overflow="fold", ratio=6 if name == "summary" else 2)
    for outcome in sorted(outcomes, key=lambda one: one.document_id):
        cells = [Text(printable(cell(outcome.outputs.get(name)))) for name in names]
        if outcome.is_dead_letter:
            cells = [Text(printable(f"dead letter: {outcome.reason}"), style="red")]
        table.add_row(Text(printable(outcome.document_id)), *cells)
    console.print(table)
    if model == MODEL_NAME:
        console.print(f"{model} has 135 million parameters: judge the machinery by it, and not the answers.")
    _print_totals(console, tally, model=model)
    console.print(f"results: {results}")


def _print_totals(console: Console, tally: Tally, *, model: str) -> None:
    usage = tally.usage
    console.print(f"{tally.results} results, {tally.dead_letters} dead letters, {tally.repeats} repeats")
    console.print(
        f"{usage.input_tokens:,} input tokens ({usage.cached_tokens:,} of them cached) and "
        f"{usage.output_tokens:,} output tokens: ${tally.cost_usd:.6f} on {model}"
    )
    compared = Prices().cost_usd(_COMPARED_WITH, usage)
    if model != str(_COMPARED_WITH) and compared is not None:
        console.print(f"the same number of tokens on {_COMPARED_WITH}: ${compared:.6f}")
    if tally.documents_per_hour:
        console.print(f"{tally.documents_per_hour:,.0f} documents an hour")
