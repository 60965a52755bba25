"""docs/reference/providers.md, written from the table of characters."""

import textwrap
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from docsluice_local.rehearsal.characters.character import Character, ErrorKind, LimitHeaders, Refusal, Thinking
from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS, fill

_MOST_WORDS = 150
_KIND_WORDS: dict[ErrorKind, str] = {
    ErrorKind.RATE_LIMITED: "too fast",
    ErrorKind.DAILY_QUOTA: "the day's quota is used up",
    ErrorKind.QUOTA_EXHAUSTED: "the account is empty",
    ErrorKind.REQUEST_TOO_LARGE_FOR_LIMIT: "larger than the limit",
    ErrorKind.UNAVAILABLE: "a failure of its own",
    ErrorKind.OVERLOADED: "overloaded",
    ErrorKind.TIMEOUT: "took too long",
    ErrorKind.BAD_KEY: "key not accepted",
    ErrorKind.FORBIDDEN: "not allowed",
    ErrorKind.UNKNOWN_MODEL: "no such model",
    ErrorKind.BAD_PATH: "no such path",
    ErrorKind.UNSUPPORTED_PARAMETER: "parameter not known",
    ErrorKind.TOO_LARGE: "prompt too long",
    ErrorKind.CONTENT_FILTERED: "filtered",
    ErrorKind.REJECTED: "request not valid",
    ErrorKind.MODEL_LOADING: "model not loaded",
}
_PLACES = {
    "reasoning_content": "in `reasoning_content` of the message",
    "reasoning": "in `reasoning` of the message",
    "think": "as `<think>` before the answer",
    "parts": "as parts of the content, before the text",
    "hidden": "nowhere, though it is counted",
}


def page(characters: Iterable[Character]) -> str:
    """The whole page."""
    told = tuple(characters)
    kinds = ", ".join(f"`{kind}` ({_KIND_WORDS[kind]})" for kind in ErrorKind)
    introduction = (files(__package__) / "introduction.md").read_text(encoding="utf-8")
    introduction = introduction.replace("<!-- overview -->", _overview(told)).replace("<!-- kinds -->", kinds)
    return "\n".join([introduction, *(_section(each) for each in told)])


def _overview(characters: tuple[Character, ...]) -> str:
    rows = ["| provider | name | address | known for |", "|---|---|---|---|"]
    for each in characters:
        link = f"[{each.title}](#{_anchor(each.title)})"
        rows.append(f"| {link} | `{each.name}` | `{each.recipe.base_url}` | {each.summary} |")
    return "\n".join(rows)


def _section(character: Character) -> str:
    lines = [f"## {character.title}", "", _recipe(character), ""]
    facts = [*_limits(character.limits), _usage(character), _finish_reasons(character)]
    if character.answer.thinking:
        facts.append(_thinking(character.answer.thinking))
    facts += [_refusal(each) for each in character.refuses]
    facts += [f"{each.text} ({_link(each.source)})" for each in character.quirks]
    lines += [f"- {fact}" for fact in facts]
    lines += ["", "| meaning | status | what it says | source |", "|---|---|---|---|", *_errors(character), ""]
    return "\n".join(lines)


def _recipe(character: Character) -> str:
    recipe = character.recipe
    settings = [f"OPENAI_BASE_URL={recipe.base_url}"]
    entry = [f"  {character.name}:", f"    base_url: {recipe.base_url}"]
    if recipe.key:
        settings.append(f"OPENAI_API_KEY=${recipe.key}")
        entry.append(f"    api_key_env: {recipe.key}")
    if recipe.azure:
        entry.append(f'    azure: {{api_version: "{recipe.azure.api_version}"}}')
    if recipe.headers:
        entry.append(f"    headers: {{{', '.join(f'{name}: {value}' for name, value in recipe.headers.items())}}}")
    if recipe.prices:
        entry.append(f"    prices: {recipe.prices}")
    # Azure's classic address has no form as settings: its API version has no variable.
    told = [] if recipe.azure else ["```", *settings, f"DOCSLUICE_MODEL={recipe.model}", "```", ""]
    task = f"A task then names `model: {character.name}/{recipe.model}`."
    note = f" {recipe.note}" if recipe.note else ""
    return "\n".join([*told, "```yaml", "providers:", *entry, "```", "", f"{task}{note} ({_link(recipe.source)})"])


def _limits(limits: LimitHeaders | None) -> Iterator[str]:
    if limits is None:
        yield "No rate-limit headers are documented. Set the limits yourself."
        return
    names = ", ".join(f"`{name}`" for name in limits.headers)
    learned = " and ".join(limits.teaches)
    says = f"docsluice learns the limit on {learned} from them." if learned else "Set the limits yourself."
    yield f"Limits are told in {names}. {says} ({_link(limits.source)})"


def _usage(character: Character) -> str:
    told = str(character.usage.shape.values())
    cached = next((name for name in _paths(character.usage.shape, "cached")), None)
    parts = [f"cached tokens in `{cached}`" if cached else "no field for cached tokens"]
    if reasoning := next((name for name in _paths(character.usage.shape, "reasoning")), None):
        parts.append(f"reasoning in `{reasoning}`")
    beside = " Reasoning is not a part of `completion_tokens`." if "answer" in told else ""
    return f"Usage has {' and '.join(parts)}.{beside} ({_link(character.usage.source)})"


def _paths(shape: Any, wanted: str, before: str = "") -> Iterator[str]:
    for name, each in shape.items():
        path = f"{before}{name}"
        if isinstance(each, dict):
            yield from _paths(each, wanted, f"{path}.")
        elif each == wanted:
            yield path


def _finish_reasons(character: Character) -> str:
    meanings = {"other": "broken off"}
    told = ", ".join(
        f"`{spelling}`" + ("" if spelling == meaning else f" ({meanings.get(meaning, meaning)})")
        for spelling, meaning in character.finish_reasons.spellings.items()
    )
    return f"Finish reasons: {told}. ({_link(character.finish_reasons.source)})"


def _thinking(thinking: Thinking) -> str:
    models = ", ".join(f"`{model}`" for model in thinking.models)
    return f"Reasoning of {models} is shown {_PLACES[thinking.place]}. ({_link(thinking.source)})"


def _refusal(refusal: Refusal) -> str:
    what = f"`{refusal.parameter}`"
    if refusal.value is not None:
        what += f" of `{refusal.value}`"
    if refusal.allows is not None:
        what += f" other than {refusal.allows}"
    models = f" with {', '.join(f'`{model}`' for model in refusal.models)}" if refusal.models else ""
    return f"Refuses {what}{models} with {refusal.status}. docsluice retries with less. ({_link(refusal.source)})"


def _errors(character: Character) -> Iterator[str]:
    for kind in character.kinds:
        for error in character.errors_of(kind):
            words = _in_a_cell(textwrap.shorten(_said(fill(error.body, SAMPLE_FACTS)), _MOST_WORDS, placeholder=" …"))
            told = f"*{words}*" if error.stand_in else words
            yield f"| {_KIND_WORDS[kind]} | {error.status} | {told or 'nothing'} | {_link(error.source)} |"


def _said(body: Any) -> str:
    """What a body says, in whichever field."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return _said(body[0]) if body else ""
    for name in ("message", "msg", "error", "detail"):
        if body.get(name):
            return _said(body[name])
    return ""


def _in_a_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _link(source: str) -> str:
    if source.startswith("https://"):
        return f"[documented]({source})"
    repository, _, number = source.partition("#")
    return f"[{source}](https://github.com/{repository}/issues/{number})"


def _anchor(title: str) -> str:
    """As GitHub makes one of a heading."""
    kept = "".join(each for each in title.lower() if each.isalnum() or each in " -_")
    return kept.replace(" ", "-")
