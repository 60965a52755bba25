"""Why an API key cannot be sent, without quoting the key. Pure."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = frozenset("\"'`")
_REFERENCE = re.compile(r"\$(\{[A-Za-z_][^}]*\}|[A-Za-z_]\w*)")
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*_(API_)?KEY\s*=")
_KINDS = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Pd": "a long dash where a hyphen belongs",
    "Pi": "a quote mark",
    "Pf": "a quote mark",
    "Zs": "a space",
}
"""Names by Unicode category. Any other character is called not ASCII."""
_LEAST_KEY = 8
KEY_BEGINNINGS = r"(?:sk[-_]|gsk[-_]|xai-|hf_|r8_|fw_|csk-|pplx-|nvapi-|tgp_|AIza|AKIA|ghp_|eyJ)"
"""Beginnings of providers' keys, for a regular expression."""
_KEY_BEGINS = re.compile(rf"((?i:bearer)\s+)?{KEY_BEGINNINGS}[A-Za-z0-9]")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=.~-]{32,}")
_SECRET_NAME = re.compile(r"key|token|secret|auth|passw|cookie|credential", re.IGNORECASE)


def begins_like_key(text: str) -> bool:
    """Whether a text begins like a provider's key, perhaps after a scheme such as Bearer."""
    return bool(_KEY_BEGINS.match(text))


def looks_like_key(text: str) -> bool:
    """Whether a text begins like a provider's key, or is one long token with a digit."""
    return begins_like_key(text) or (bool(_LONG_TOKEN.fullmatch(text)) and any(map(str.isdigit, text)))


def is_key_for_path(path: str) -> bool:
    """Whether a path is most likely a key. No key begins like a path from the root."""
    return looks_like_key(path) and not path.startswith(("/", "~/", "./", "../"))


def names_a_secret(name: str) -> bool:
    """Whether a field or a header of this name is for a key."""
    return bool(_SECRET_NAME.search(name))


def problem_of_key(key: str) -> str | None:
    """What is wrong with a key, as the end of a sentence. None if it may be valid. White space around it is ignored."""
    if key.lower().startswith("bearer "):
        return 'begins with "Bearer", which is added by itself; give the key alone'
    if _REFERENCE.fullmatch(key):
        return "refers to a variable, and nothing is put in its place; give the key itself"
    if _NAMED.match(key):
        return "begins with the name of a variable; give the key alone"
    if key.split() != [key]:
        return "holds white space inside: two keys, or a key and something else; give one key"
    if _is_several(key):
        return "holds two keys; give one"
    return next((f"holds {kind}; copy it again" for one in key if (kind := _kind(one))), None)


def _kind(one: str) -> str | None:
    if one in _QUOTES:
        return "a quote mark"
    if one.isascii() and one.isprintable():
        return None
    return _KINDS.get(unicodedata.category(one), "a character that is not ASCII")


def _is_several(key: str) -> bool:
    """Whether a text is several keys of one provider, with commas between."""
    parts = re.split(r"[,;]", key)
    return len(parts) > 1 and all(len(part) >= _LEAST_KEY and part[:3] == key[:3] for part in parts)
