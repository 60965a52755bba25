"""What a pipeline will take for all documents of some files, or of a topic: before it runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from docsluice.messages import Usage
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.bootstrap import prices_of
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.llm.token_estimator import USUAL_BYTES_PER_TOKEN
from docsluice_consumer.settings import Settings
from docsluice_consumer.trial.forecast import Duration, Estimate, Population, duration, total
from docsluice_consumer.trial.trial import Ending, try_records
from docsluice_consumer.trial.variants import Variant, steps_in

_MINUTE = 60.0


@dataclass(slots=True, kw_only=True)
class Survey:
    """All documents, and a sample of them: records with the size of their text in bytes."""

    documents: int = 0
    total_bytes: int = 0
    passed_over: int = 0
    references: int = 0
    """Documents whose text is elsewhere. Their sizes are not known, and count as nothing."""
    unfit: int = 0
    """Records that would become dead letters at once."""
    sample: list[tuple[Record, int]] = field(default_factory=list)

    is_scaled: bool = False
    """Whether the numbers are those of a part, scaled to the whole."""

    def of_all(self, records: int) -> Survey:
        """The same of so many records, of which these are a part."""
        times = records / self.records
        return replace(
            self,
            documents=round(self.documents * times),
            total_bytes=round(self.total_bytes * times),
            passed_over=round(self.passed_over * times),
            unfit=round(self.unfit * times),
            is_scaled=records > self.records,
        )

    @property
    def records(self) -> int:
        """All that was looked at."""
        return self.documents + self.passed_over + self.unfit


def survey(records: Iterable[Record], reader: RecordReader, *, sample: int, seed: int) -> Survey:
    """Look at every record once. Each document has the same chance to be in the sample."""
    found, dice = Survey(), random.Random(seed)  # noqa: S311 - a sample, no secret
    for record in records:
        try:
            read = reader.read(record)
        except RecordRejected:
            found.unfit += 1
            continue
        if read is None:
            found.passed_over += 1
            continue
        size = 0 if read.is_reference else len(read.event.text.encode())
        found.references += read.is_reference
        found.documents += 1
        found.total_bytes += size
        if len(found.sample) < sample:
            found.sample.append((record, size))
        elif (place := dice.randrange(found.documents)) < sample:
            found.sample[place] = (record, size)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all documents will take with one variant. Without a live sample, `output_tokens` and `usd` are unknown.

    `stored` is the share of the sample that was answered before, and `failed` the share that became dead letters.
    """

    variant: Variant
    calls: float
    input_tokens: Estimate
    output_tokens: Estimate | None = None
    usd: Estimate | None = None
    least_usd: Decimal | None = None
    """What the tokens that go in cost, where a price is known and nothing else is."""
    time: Duration | None = None
    sampled: int = 0
    stored: float = 0.0
    failed: float = 0.0


def rough_plan(variant: Variant, found: Survey) -> Plan:
    """A plan without a call: four bytes a token, and nothing of the answers."""
    steps = steps_in(variant)
    prices, usd, tokens = prices_of(variant.settings, variant.file), list[Decimal | None](), 0.0
    for step in steps:
        own = sum(len(turn.content.encode()) for turn in step.preamble) * found.documents
        read = (own + _read_bytes(found, step.first_characters)) / USUAL_BYTES_PER_TOKEN
        usd.append(prices.cost_usd(step.model, Usage(input_tokens=round(read))))
        tokens += read
    calls = float(len(steps) * found.documents)
    sure = Estimate(tokens, tokens, tokens)
    work = {"requests": calls, "tokens": tokens, "input_tokens": tokens}
    return Plan(
        variant=variant,
        calls=calls,
        input_tokens=sure,
        least_usd=None if None in usd else sum(filter(None, usd), Decimal(0)),
        time=duration(work, _allowed(variant.settings)),
    )


def _read_bytes(found: Survey, characters: int | None) -> float:
    """Bytes that one step reads of all documents. The sample tells how much is cut."""
    if characters is None or not found.sample:
        return found.total_bytes
    cut = sum(min(size, characters) for _, size in found.sample) / sum(size for _, size in found.sample)
    return found.total_bytes * cut


async def live_plan(variant: Variant, found: Survey, secrets: KnownSecrets) -> Plan:
    """A plan from a sample that is really asked, and paid for. Its answers are kept in the store.

    Raises:
        ConfigurationError, ServiceFault, NoAnswers: as `try_records`.
    """
    records, sizes = [record for record, _ in found.sample], [size for _, size in found.sample]
    endings = await try_records(records, variant.settings, variant.file, secrets)
    asked = [(size, one) for size, one in zip(sizes, endings, strict=True) if one.calls]
    stored = 1 - len(asked) / len(endings)
    share = Population(round(found.documents * (1 - stored)), round(found.total_bytes * (1 - stored)))
    if not asked:
        nothing = Estimate(0.0, 0.0, 0.0)
        return Plan(
            variant=variant,
            calls=0.0,
            input_tokens=nothing,
            output_tokens=nothing,
            usd=nothing,
            sampled=len(endings),
            stored=stored,
        )

    def of(quantity: Sequence[float]) -> Estimate:
        return total([(size, one) for (size, _), one in zip(asked, quantity, strict=True)], share)

    usages = [_usage_of(one) for _, one in asked]
    calls = of([float(len(one.calls)) for _, one in asked]).value
    tokens_in, tokens_out = of([one.input_tokens for one in usages]), of([one.output_tokens for one in usages])
    work = {
        "requests": calls,
        "tokens": tokens_in.value + tokens_out.value,
        "input_tokens": tokens_in.value,
        "output_tokens": tokens_out.value,
        "concurrency": of([sum(call.seconds for call in one.calls) for _, one in asked]).value,
    }
    return Plan(
        variant=variant,
        calls=calls,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=of([float(one.cost_usd) for _, one in asked]),
        time=duration(work, _allowed(variant.settings)),
        sampled=len(endings),
        stored=stored,
        failed=sum(1 for _, one in asked if one.reason) / len(endings),
    )


def _usage_of(ending: Ending) -> Usage:
    return sum((call.usage for call in ending.calls), Usage())


def _allowed(settings: Settings) -> dict[str, float | None]:
    """What a second allows of each quota. Calls in flight are seconds of work a second."""
    minute = {
        "requests": settings.requests_per_minute,
        "tokens": settings.tokens_per_minute,
        "input_tokens": settings.input_tokens_per_minute,
        "output_tokens": settings.output_tokens_per_minute,
    }
    rates = {name: None if limit is None else limit / _MINUTE for name, limit in minute.items()}
    return {**rates, "concurrency": float(settings.concurrency.ceiling)}
