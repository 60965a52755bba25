"""What you test your own code with: topics in memory, a made-up model, and your pipeline on it.

    async def test_an_invoice_is_billing(docsluice_pipeline):
        pipeline = docsluice_pipeline("pipeline.yaml", answers={"category": "billing"})
        result = await pipeline.process(document_id="d1", text="Invoice 17 is due.")
        assert result.outputs["category"] == "billing"

pytest finds the fixtures by itself. They are loaded when a test asks for one. docs/how-to/test-your-pipeline.md shows
all of it.
"""

TYPE_CHECKING = False  # which type checkers take for true, without the import
if TYPE_CHECKING:
    from docsluice.testing.answers import RecordedAnswers, TaskAnswers, recorded
    from docsluice.testing.pipeline import DeadLettered, PipelineUnderTest
    from docsluice.testing.service import RunningService, fake_model, running_service
    from docsluice.testing.topics import MemoryTopics

_ROOMS = {
    "docsluice.testing.answers": ("RecordedAnswers", "TaskAnswers", "recorded"),
    "docsluice.testing.pipeline": ("DeadLettered", "PipelineUnderTest"),
    "docsluice.testing.service": ("RunningService", "fake_model", "running_service"),
    "docsluice.testing.topics": ("MemoryTopics",),
}

__all__ = [
    "DeadLettered",
    "MemoryTopics",
    "PipelineUnderTest",
    "RecordedAnswers",
    "RunningService",
    "TaskAnswers",
    "fake_model",
    "recorded",
    "running_service",
]


def __getattr__(name: str) -> object:
    """Load what is asked for."""
    from importlib import import_module  # noqa: PLC0415 - pytest loads this package for everybody

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module 'docsluice.testing' has no attribute {name!r}")
