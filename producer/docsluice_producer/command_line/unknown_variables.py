"""Variables with our prefix that neither program reads, and that are most likely misspelt. Pure."""

from collections.abc import Iterable

from docsluice.settings.shared_settings import SharedSettings
from docsluice.settings.unknown_variables import PREFIX, unknown_among

_OF_THE_SERVICE = """
    OPENAI_API_KEY_FILE OPENAI_API_KEY_COMMAND GROUP_INSTANCE_ID TOPIC_PARTITIONS DELIVERY
    UNKNOWN_COMMIT_MAP ORDERING PIPELINE MODEL MODE PRICES MAX_CONCURRENCY REQUESTS_PER_MINUTE TOKENS_PER_MINUTE
    SCHEMA_REGISTRY_URL SCHEMA_REGISTRY_USERNAME SCHEMA_REGISTRY_PASSWORD SCHEMA_REGISTRY_CAFILE OBJECT_PREFIXES
    INPUT_TOKENS_PER_MINUTE OUTPUT_TOKENS_PER_MINUTE SHARED_LIMITS_URL BUDGET_USD_PER_HOUR BUDGET_USD_PER_DAY
    MAX_COST_USD_PER_DOCUMENT SERVICE_TIER REQUEST_TIMEOUT_SECONDS MAX_ATTEMPTS DEAD_LETTER_MAX_RATIO
    DEAD_LETTER_MAX_CONSECUTIVE DEAD_LETTER_ANSWER MAX_OPEN_RECORDS_PER_PARTITION MAX_OPEN_RECORDS
    MAX_DOCUMENT_BYTES MAX_OPEN_BYTES COMMIT_INTERVAL_SECONDS DRAIN_SECONDS STATE_DIR STORE_URL STORE_OPTIONAL
    STORE_MAX_BYTES STORE_MAX_AGE_DAYS HTTP_HOST LOG_FORMAT LOG_LEVEL
"""
SETTINGS = frozenset(
    {
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        *map(SharedSettings.variable, SharedSettings.model_fields),
        *(PREFIX + name for name in _OF_THE_SERVICE.split()),
    }
)
"""All variables of the service, because one `.env` serves both programs.

A test compares this list with the service's own.
"""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """A sentence for each variable that is no setting, with the one that was probably meant."""
    return unknown_among(environment, known=SETTINGS)
