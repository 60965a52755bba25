"""Secrets of all kinds, all the ways in which a server may write one, and whether a text tells it."""

from __future__ import annotations

import base64
import html
import json
import re
import string
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import strategies as st

from docsluice.text.redaction import plain

Spelling = Callable[[str], str]

_RUN, _BROKEN_OFF = 12, 6
SPELLINGS: dict[str, Spelling] = {
    "as it is": lambda secret: secret,
    "in a URL": lambda secret: quote(secret, safe=""),
    "in a URL twice": lambda secret: quote(quote(secret, safe="")),
    "every byte in a URL": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "in HTML": html.escape,
    "every letter in HTML": lambda secret: "".join(f"&#{ord(letter)};" for letter in secret),
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON twice": lambda secret: json.dumps(json.dumps(secret))[1:-1],
    "every letter in JSON": lambda secret: "".join(f"\\u{ord(letter):04x}" for letter in secret),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 behind a user": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "in base64 among others": lambda secret: base64.b64encode(f"k={secret}&more=1".encode()).decode(),
    "in base64 for a URL": lambda secret: base64.urlsafe_b64encode(f"ab{secret}c".encode()).decode(),
    "in base64, then in a URL": lambda secret: quote(base64.b64encode(secret.encode()).decode(), safe=""),
    "in hexadecimal": lambda secret: secret.encode().hex(),
    "as Python has it": lambda secret: repr(secret.encode())[2:-1] if secret.isascii() else secret,
    "behind a scheme": lambda secret: f"Bearer {secret}",
    "its beginning": lambda secret: secret[: max(_RUN, len(secret) * 2 // 3)],
    "its end": lambda secret: secret[-max(_RUN, len(secret) // 2) :],
}

_WORDS = re.compile(r"[A-Za-z_ .,:/'-]+")
"""hypothesis draws strings that stand in the code, too."""
SECRETS = st.one_of(
    st.text(string.ascii_letters + string.digits, min_size=8, max_size=64).map(lambda rest: f"sk-{rest}"),
    st.text(string.ascii_letters + string.digits + "-_+/=.", min_size=8, max_size=300),
    st.text(string.printable[:94], min_size=8, max_size=60),
    st.text(string.punctuation, min_size=8, max_size=40),
    st.text(string.ascii_letters + string.digits, min_size=1500, max_size=3000),
    st.text(st.characters(min_codepoint=0xC0, max_codepoint=0x24F), min_size=8, max_size=30),
).filter(lambda secret: len(set(secret)) > 4 and not _WORDS.fullmatch(secret))  # else it may be a word of ours


def tells(text: str, secret: str) -> bool:
    """Whether a dozen characters of a secret in a row can be read out of a text, or all of a shorter one.

    Also where the text breaks off in the middle of one: half a dozen are enough there.
    """
    data = secret.encode()
    told = [secret, data.hex(), *(_in_base64(data, before) for before in range(3))]
    for seen in (text, plain(text)):
        if any(_has_run(seen, one) for one in told):
            return True
        if any(seen.rstrip("…").endswith(one[:size]) for one in told for size in range(_BROKEN_OFF, _RUN)):
            return True
    return False


def _in_base64(data: bytes, before: int) -> str:
    """What is certain to stand in the base64 of something that holds this behind so many other bytes."""
    return base64.b64encode(bytes(before) + data).decode()[before + (before > 0) : (before + len(data)) * 8 // 6]


def _has_run(text: str, secret: str) -> bool:
    if len(secret) <= _RUN:
        return secret in text
    half = _RUN // 2  # each run holds one of these pieces whole, and most texts hold none
    if not any(secret[start : start + half] in text for start in range(0, len(secret) - half + 1, half)):
        return False
    return any(secret[start : start + _RUN] in text for start in range(len(secret) - _RUN + 1))
