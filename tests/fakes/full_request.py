"""A request with everything in it that a model might not know."""

from __future__ import annotations

from docsluice_consumer.llm.chat import ChatRequest, Message, Sampling
from docsluice_consumer.model_ref import model_ref

SCHEMA = {
    "type": "object",
    "properties": {
        "pattern": {"type": "string", "maxLength": 20, "pattern": "^a"},
        "keywords": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 5},
    },
    "required": ["pattern", "keywords"],
    "additionalProperties": False,
}
REQUEST = ChatRequest(
    step="summary",
    model=model_ref("m"),
    messages=(Message("system", "Answer."), Message("user", "A document about response_format and temperature.")),
    schema=SCHEMA,
    sampling=Sampling(
        max_output_tokens=50,
        temperature=0.0,
        top_p=0.5,
        frequency_penalty=0.1,
        reasoning_effort="low",
        seed=1,
        stop=("x",),
    ),
    service_tier="flex",
    extra_body={"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}},
)
