"""An evaluation as one HTML page that needs nothing else: no script, no font, no network. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from docsluice.messages import plain_decimal
from docsluice.text.printable import harmless, shortened
from docsluice_consumer.evaluation.evaluation import Difference, TaskScore, VariantScore
from docsluice_consumer.evaluation.report import answer_text, difference_text, interval_text, seconds_text
from docsluice_consumer.evaluation.scoring import Judged, confusion_of, fields_of
from docsluice_consumer.tasks.outputs import ChoiceOutput, JsonOutput

_EXCERPT_CHARACTERS = 160
_BAR_WIDTH, _BAR_HEIGHT = 420, 22
_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c1e21, #e6e6e6); --faint: light-dark(#6b7280, #9ca3af);
  --line: light-dark(#d9dce1, #3a3f47); --bar: light-dark(#2563eb, #60a5fa); --soft: light-dark(#f4f5f7, #23272e); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem }
table { border-collapse: collapse; margin: .5rem 0 1rem } td, th { padding: .3rem .7rem; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--line) }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.lead { background: var(--soft); padding: .8rem 1rem; border-radius: 6px }
.faint { color: var(--faint) } .scroll { overflow-x: auto } .wrong { color: light-dark(#b42318, #f97066) }
svg text { fill: var(--ink); font-size: 12px }
details { margin: .5rem 0 } summary { cursor: pointer }
"""


def page_of(
    variants: Sequence[VariantScore], differences: Sequence[Difference], cheapest: VariantScore, *, within: float
) -> str:
    """The page: which variant to choose, how good each is at each task, and every answer that is not expected."""
    body = "\n".join(_body(variants, differences, cheapest, within=within))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _body(
    variants: Sequence[VariantScore], differences: Sequence[Difference], cheapest: VariantScore, *, within: float
) -> Iterator[str]:
    yield f"<h1>{variants[0].documents:,} documents, {len(variants)} variant{'s' if len(variants) > 1 else ''}</h1>"
    if len(variants) > 1:
        yield (
            f'<p class="lead">Cheapest within {within * 100:g} points of the best:'
            f" <strong>{_text(cheapest.name)}</strong>, ${_dollars(cheapest)} for 1,000 documents.</p>"
        )
    yield from _overview(variants)
    if differences:
        yield f"<ul>{''.join(f'<li>{_text(difference_text(one))}</li>' for one in differences)}</ul>"
    for task in variants[0].tasks:
        yield f"<h2>{_text(task)}</h2>"
        yield _bars([(one.name, one.tasks[task]) for one in variants])
        for one in variants:
            yield from _details(one.name, one.tasks[task])
        yield from _disagreements(task, variants)


def _overview(variants: Sequence[VariantScore]) -> Iterator[str]:
    tasks = list(variants[0].tasks.values())
    head = ["", *(f"{_text(task.task)}<br><span class=faint>{task.measure}</span>" for task in tasks)]
    head += ["dead letters", "repaired", "$ for 1,000", "seconds, p50 and p95"]
    yield "<div class=scroll><table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"
    for one in variants:
        cells = [interval_text(one.tasks[task.task].score) for task in tasks]
        cells += [str(one.dead_letters), str(one.repaired), _dollars(one), seconds_text(one)]
        yield f"<tr><th>{_text(one.name)}</th>{''.join(f'<td class=number>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div>"
    yield "<p class=faint>In brackets: where the score of all such documents is, 95% sure.</p>"


def _bars(scores: Sequence[tuple[str, TaskScore]]) -> str:
    """A bar for each variant, with its interval as a line across its end."""
    rows: list[str] = []
    for number, (name, task) in enumerate(scores):
        top, middle = number * 2 * _BAR_HEIGHT, number * 2 * _BAR_HEIGHT + 1.4 * _BAR_HEIGHT
        value, low, high = (_BAR_WIDTH * part for part in task.score)
        ends = f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10M{high:.1f} {middle - 5}v10"
        rows += [
            f'<text x="0" y="{top + 14}">{_text(name)}: {interval_text(task.score)}</text>',
            f'<rect x="0" y="{middle - 8}" width="{_BAR_WIDTH}" height="16" fill="var(--soft)"/>',
            f'<rect x="0" y="{middle - 8}" width="{value:.1f}" height="16" fill="var(--bar)" opacity=".75"/>',
            f'<path d="{ends}" stroke="var(--ink)" stroke-width="1.5" fill="none"/>',
        ]
    height = len(scores) * 2 * _BAR_HEIGHT + 4
    title = ", ".join(f"{name} {task.score.value:.1%}" for name, task in scores)
    return (
        f'<svg role="img" aria-label="{_text(title)}" width="{_BAR_WIDTH + 4}" height="{height}">{"".join(rows)}</svg>'
    )


def _details(name: str, task: TaskScore) -> Iterator[str]:
    if isinstance(task.output, ChoiceOutput):
        yield f"<h3>{_text(name)}: expected in rows, answered in columns</h3>"
        yield _matrix(task)
    elif isinstance(task.output, JsonOutput):
        rows = "".join(
            f"<tr><td>{_text(path)}</td><td class=number>{share:.1%}</td></tr>"
            for path, share in sorted(fields_of(task.judged).items(), key=lambda one: one[1])
        )
        yield f"<h3>{_text(name)}: fields that are right</h3><table>{rows}</table>"


def _matrix(task: TaskScore) -> str:
    counts = confusion_of(task.judged)
    rows = sorted({expected for expected, _ in counts})
    columns = sorted(set(rows) | {found for _, found in counts})
    most = max(counts.values())
    lines = [f"<tr><th></th>{''.join(f'<th>{_text(label)}</th>' for label in columns)}</tr>"]
    for expected in rows:
        cells = (_cell(counts.get((expected, found), 0), most, is_right=expected == found) for found in columns)
        lines.append(f"<tr><th>{_text(expected)}</th>{''.join(cells)}</tr>")
    return f"<div class=scroll><table>{''.join(lines)}</table></div>"


def _cell(count: int, most: int, *, is_right: bool) -> str:
    if not count:
        return "<td></td>"
    red, green, blue = (34, 160, 90) if is_right else (220, 70, 50)
    shade = 0.12 + 0.55 * count / most
    return f'<td class=number style="background:rgba({red},{green},{blue},{shade:.2f})">{count:,}</td>'


def _disagreements(task: str, variants: Sequence[VariantScore]) -> Iterator[str]:
    """Documents that some variant did not answer as expected, with all answers."""
    rows = list(zip(*(one.tasks[task].judged for one in variants), strict=True))
    wrong = [judged for judged in rows if not all(one.is_right for one in judged)]
    if not wrong:
        yield "<p>Every answer is the expected one.</p>"
        return
    yield f"<details><summary>{len(wrong):,} of {len(rows):,} documents with another answer</summary>"
    names = "".join(f"<th>{_text(one.name)}</th>" for one in variants)
    yield f"<div class=scroll><table><tr><th>document</th><th>expected</th>{names}</tr>"
    for judged in wrong:
        yield _disagreement(judged)
    yield "</table></div></details>"


def _disagreement(judged: Sequence[Judged]) -> str:
    first = judged[0]
    excerpt = shortened(next((one.excerpt for one in judged if one.excerpt), ""), _EXCERPT_CHARACTERS)
    answers = "".join(
        f"<td{'' if one.is_right else ' class=wrong'}>{_text(answer_text(one.found))}</td>" for one in judged
    )
    return (
        f"<tr><td>{_text(first.document_id)}<br><span class=faint>{_text(excerpt)}</span></td>"
        f"<td>{_text(answer_text(first.expected))}</td>{answers}</tr>"
    )


def _dollars(one: VariantScore) -> str:
    return plain_decimal(round(one.usd_per_thousand, 6))


def _text(value: str) -> str:
    return escape(harmless(value))
