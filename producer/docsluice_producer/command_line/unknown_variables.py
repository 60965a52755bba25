"""Variables with our prefix that neither program reads, and that are most likely misspelt. Pure."""

from collections.abc import Iterable

from docsluice.settings.unknown_variables import unknown_among

SETTINGS = frozenset(
    {
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "DOCSLUICE_OPENAI_API_KEY_FILE",
        "DOCSLUICE_OPENAI_API_KEY_COMMAND",
        "KAFKA_BOOTSTRAP_SERVERS",
        "DOCSLUICE_KAFKA_SECURITY_PROTOCOL",
        "DOCSLUICE_KAFKA_SASL_MECHANISM",
        "DOCSLUICE_KAFKA_SASL_USERNAME",
        "DOCSLUICE_KAFKA_SASL_PASSWORD",
        "DOCSLUICE_KAFKA_SSL_CAFILE",
        "DOCSLUICE_KAFKA_SSL_CERTFILE",
        "DOCSLUICE_KAFKA_SSL_KEYFILE",
        "DOCSLUICE_GROUP_ID",
        "DOCSLUICE_GROUP_INSTANCE_ID",
        "DOCSLUICE_INPUT_TOPIC",
        "DOCSLUICE_RESULT_TOPIC",
        "DOCSLUICE_DEAD_LETTER_TOPIC",
        "DOCSLUICE_TOPIC_PARTITIONS",
        "DOCSLUICE_DELIVERY",
        "DOCSLUICE_UNKNOWN_COMMIT_MAP",
        "DOCSLUICE_ORDERING",
        "DOCSLUICE_PIPELINE",
        "DOCSLUICE_MODEL",
        "DOCSLUICE_MODE",
        "DOCSLUICE_PRICES",
        "DOCSLUICE_MAX_CONCURRENCY",
        "DOCSLUICE_REQUESTS_PER_MINUTE",
        "DOCSLUICE_TOKENS_PER_MINUTE",
        "DOCSLUICE_INPUT_TOKENS_PER_MINUTE",
        "DOCSLUICE_OUTPUT_TOKENS_PER_MINUTE",
        "DOCSLUICE_SHARED_LIMITS_URL",
        "DOCSLUICE_BUDGET_USD_PER_HOUR",
        "DOCSLUICE_BUDGET_USD_PER_DAY",
        "DOCSLUICE_MAX_COST_USD_PER_DOCUMENT",
        "DOCSLUICE_SERVICE_TIER",
        "DOCSLUICE_REQUEST_TIMEOUT_SECONDS",
        "DOCSLUICE_MAX_ATTEMPTS",
        "DOCSLUICE_DEAD_LETTER_MAX_RATIO",
        "DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE",
        "DOCSLUICE_DEAD_LETTER_ANSWER",
        "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION",
        "DOCSLUICE_MAX_OPEN_RECORDS",
        "DOCSLUICE_MAX_DOCUMENT_BYTES",
        "DOCSLUICE_MAX_OPEN_BYTES",
        "DOCSLUICE_COMMIT_INTERVAL_SECONDS",
        "DOCSLUICE_DRAIN_SECONDS",
        "DOCSLUICE_STATE_DIR",
        "DOCSLUICE_STORE_URL",
        "DOCSLUICE_STORE_OPTIONAL",
        "DOCSLUICE_STORE_MAX_BYTES",
        "DOCSLUICE_STORE_MAX_AGE_DAYS",
        "DOCSLUICE_HTTP_HOST",
        "DOCSLUICE_HTTP_PORT",
        "DOCSLUICE_LOG_FORMAT",
        "DOCSLUICE_LOG_LEVEL",
    }
)
"""All variables of the service, because one `.env` serves both programs.

A test compares this list with the service's own.
"""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """A sentence for each variable that is no setting, with the one that was probably meant."""
    return unknown_among(environment, known=SETTINGS)
