"""`docsluice follow --until-complete`: it ends when the group has ended all that was in the input topic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest

from docsluice_local.rehearsal.provider import rehearsal_provider
from docsluice_producer.command_line.exits import Exit
from tests.integration.producer_process import producer, run, said
from tests.integration.wire import Record, Wire, document, serving

DOCUMENTS = 12


def following(wire: Wire) -> list[str]:
    topics = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    of_documents = ["--input-topic", wire.topics["input"], "--group-id", f"{wire.name}.group"]
    servers = ["--bootstrap-servers", wire.bootstrap_servers]
    return ["follow", "--until-complete", *topics, *of_documents, *servers]


def records() -> list[Record]:
    """Documents that end in every way: a result, a dead letter, and a record without a value that is passed over."""
    sound = [document(f"d{number}", f"Text {number}.") for number in range(DOCUMENTS)]
    return [*sound, Record(value=b"no event"), Record(value=None, key=b"gone")]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_it_waits_for_every_document_and_no_longer(
    wire: Wire, tmp_path: Path, delivery: Literal["exactly_once", "at_least_once"]
) -> None:
    """Whether it begins before the service does or after all is done, it shows each outcome, and ends by itself."""
    await wire.create_topics(partitions=3)
    await wire.produce(records())
    path = tmp_path / "results.parquet"
    async with producer(*following(wire), "--to", str(path)) as process, rehearsal_provider() as provider:
        await said(process, f"has {DOCUMENTS + 2} records of {wire.topics['input']} to go")
        async with serving(wire.settings(provider.base_url, delivery=delivery)):
            out, _ = await process.communicate()
            assert process.returncode == Exit.DONE
            assert f"{DOCUMENTS} results, 1 dead letter (undecodable 1)" in out.decode()
            assert pq.read_table(path).num_rows == DOCUMENTS + 1
    code, out_again, _ = await run(*following(wire), "--failed")
    assert code == Exit.DONE
    assert out_again.splitlines()[-2] == "0 results, 1 dead letter (undecodable 1)"


async def test_documents_that_no_service_analyzes_are_waited_for(wire: Wire) -> None:
    """A group that was never there has committed nothing, so nothing is complete."""
    await wire.create_topics()
    await wire.produce(records())
    code, _, err = await run(*following(wire), "--timeout-seconds", "2")
    assert code == Exit.TIME_UP
    assert "0 documents had ended" in err


async def test_an_empty_topic_is_complete(wire: Wire) -> None:
    """There is nothing to wait for."""
    await wire.create_topics()
    code, out, _ = await run(*following(wire))
    assert code == Exit.DONE
    assert out.startswith("0 results, 0 dead letters\n")


async def test_a_topic_that_is_missing_is_told(wire: Wire) -> None:
    """Otherwise a mistyped name would count as complete."""
    code, _, err = await run(*following(wire))
    assert code == Exit.FAULT
    assert f"there is no topic {wire.topics['input']}" in err
