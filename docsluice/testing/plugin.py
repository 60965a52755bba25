"""The fixtures, as pytest finds them in every project that has docsluice. Nothing is loaded before one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docsluice.testing.pipeline import PipelineUnderTest
    from docsluice.testing.service import RunningService
    from docsluice.testing.topics import MemoryTopics
    from docsluice_local.rehearsal.provider import RehearsalProvider


@pytest.fixture
def docsluice_pipeline() -> type[PipelineUnderTest]:
    """`docsluice_pipeline("pipeline.yaml", answers={…})` is that pipeline on a made-up model."""
    from docsluice.testing.pipeline import PipelineUnderTest  # noqa: PLC0415 - see above

    return PipelineUnderTest


@pytest.fixture
def docsluice_topics() -> MemoryTopics:
    """Topics in memory, for producers and subscribers of your own: give them as `topics=`."""
    from docsluice.testing.topics import MemoryTopics  # noqa: PLC0415 - see above

    return MemoryTopics()


@pytest.fixture
def docsluice_model() -> Callable[..., AbstractAsyncContextManager[RehearsalProvider]]:
    """A made-up model. It is served at `model.base_url` within `async with … as model:`."""
    from docsluice.testing.service import fake_model  # noqa: PLC0415 - see above

    return fake_model


@pytest.fixture(scope="session")
def docsluice_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded broker. It needs `docsluice[broker]`."""
    from docsluice_local.broker import embedded_broker  # noqa: PLC0415 - see above

    with embedded_broker(data_dir=tmp_path_factory.mktemp("docsluice-broker")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def docsluice_service(docsluice_broker: str) -> Callable[..., AbstractAsyncContextManager[RunningService]]:
    """The service on the embedded broker, for the length of an `async with` block. See `running_service`."""
    from docsluice.testing.service import running_service  # noqa: PLC0415 - see above

    return partial(running_service, bootstrap_servers=docsluice_broker)
