"""Which secrets may go to an address in a `.env` that nobody has named. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from docsluice.network.urls import is_redis
from docsluice.settings.env_file import REMEDY, EnvFile, Way, distrusted, mixed, references

_KEY = "OPENAI_API_KEY"
_KEY_KEEPERS = ("DOCSLUICE_OPENAI_API_KEY_FILE", "DOCSLUICE_OPENAI_API_KEY_COMMAND")
_PASSWORD = "DOCSLUICE_KAFKA_SASL_PASSWORD"  # noqa: S105 - a variable's name
_STORE = "DOCSLUICE_STORE_URL"
_COMMAND = "DOCSLUICE_OPENAI_API_KEY_COMMAND"
_REGISTRY_PASSWORD = "DOCSLUICE_SCHEMA_REGISTRY_PASSWORD"  # noqa: S105 - the same
SECRETS = frozenset({_KEY, _PASSWORD, _REGISTRY_PASSWORD})
KAFKA = Way(
    addresses=(
        "KAFKA_BOOTSTRAP_SERVERS",
        "DOCSLUICE_KAFKA_SECURITY_PROTOCOL",
        "DOCSLUICE_KAFKA_SASL_MECHANISM",
        "DOCSLUICE_KAFKA_SSL_CAFILE",
    ),
    secrets=(_PASSWORD,),
)
"""Not only the address counts: with another protocol or authority a password can be read on its way."""
_PROVIDER = Way(addresses=("OPENAI_BASE_URL",), secrets=(_KEY,), keepers=_KEY_KEEPERS)
_REGISTRY = Way(
    addresses=("DOCSLUICE_SCHEMA_REGISTRY_URL", "DOCSLUICE_SCHEMA_REGISTRY_CAFILE"), secrets=(_REGISTRY_PASSWORD,)
)
_ANSWERS = Way(addresses=(_STORE,), secrets=(_KEY, _PASSWORD), keepers=_KEY_KEEPERS)
"""A store sees no key. But it sees the paid answers, which tell what is in the documents."""


def problems_of(
    file: EnvFile, given: Mapping[str, str], *, set_elsewhere: Collection[str], ways: Collection[Way] | None = None
) -> list[str]:
    """A sentence for each setting of the file that is refused.

    `given` are the variables taken from the file, `set_elsewhere` those set elsewhere. `ways` are those of the program,
    by default the service's.
    """
    problems = references(given, secrets=SECRETS)
    if ways is None:
        ways = (_PROVIDER, KAFKA, _REGISTRY, *([_ANSWERS] if is_redis(given.get(_STORE, "")) else []))
    problems += [problem for way in ways if (problem := mixed(file, way, given=given, set_elsewhere=set_elsewhere))]
    if _COMMAND in given and not file.is_named:
        problems.append(f"{_COMMAND}: {distrusted(file)}, which may name no command to be run; {REMEDY}")
    return problems
