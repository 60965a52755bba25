"""The rehearsal provider over HTTP: chat completions and models as OpenAI serves them, and a back door for the tester.

The back door:
    GET    /rehearsal/calls   the call log, with the limits that were in force
    GET    /rehearsal/counts  how many calls there were and how they ended: cheap, for whoever looks on
    DELETE /rehearsal/calls   empties the log
    POST   /rehearsal/faults  {"outage": "503", "seconds": 5, "model": "m", "rates": {"429": 0.1}}. Every key may be
                              left out. A kind of error of the character (daily_quota, …) is a fault, too.
                              An outage meets all calls, or those of one model, for so many seconds or until
                              it is ended. Null ends it. "refused" closes the listening port itself and needs seconds,
                              since nobody could ask for it to be opened again.
    DELETE /rehearsal/faults  ends all outages and restores the rates the provider was started with
    POST   /rehearsal/limits  {"requests": 600, "output_tokens": null}: from now on these limits a minute hold. Null
                              lifts one, and what is not named stays
    DELETE /rehearsal/holds   answers every call that is held, and holds none from now on
"""

import asyncio
import json
import socket
import struct
import time
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from docsluice_local.rehearsal import replies
from docsluice_local.rehearsal.call_log import Call, CallLog
from docsluice_local.rehearsal.chat import UnreadableRequestError, read_call
from docsluice_local.rehearsal.faults import Fault, UnknownFaultError
from docsluice_local.rehearsal.judge import Judge, Verdict
from docsluice_local.rehearsal.limits import Limited
from docsluice_local.rehearsal.outages import Outages
from docsluice_local.rehearsal.player import Player
from docsluice_local.rehearsal.replies import Reply
from docsluice_local.rehearsal.settings import RehearsalSettings

JUDGE = web.AppKey("JUDGE", Judge)
CALL_LOG = web.AppKey("CALL_LOG", CallLog)
OUTAGES = web.AppKey("OUTAGES", Outages)
PLAYER = web.AppKey[Player | None]("PLAYER")

_LARGEST_BODY_BYTES = 64 * 2**20
_HANG_SECONDS = 24 * 3600.0
_DROP_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends a reset
_DEFAULT_MODEL = "gpt-4o-mini"
"""The default model of a consumer. Without named models the provider takes any."""


def rehearsal_app(settings: RehearsalSettings) -> web.Application:
    """The provider as an aiohttp application.

    Serve it with `handler_cancellation=True`, so that a client that gives up ends its call here too.
    """
    app = web.Application(client_max_size=_LARGEST_BODY_BYTES)
    judge = Judge(settings=settings, now=asyncio.get_running_loop().time())
    app[JUDGE] = judge
    app[CALL_LOG] = CallLog()
    app[CALL_LOG].note_limits(judge.limits.per_minute)
    app[OUTAGES] = Outages(judge=judge)
    app[PLAYER] = Player(character=settings.character) if settings.character else None
    for path in _api_paths(settings):
        app.router.add_post(f"{path}/chat/completions", _chat_completions)
        app.router.add_get(f"{path}/models", _models)
    app.router.add_get("/health", _health)
    app.router.add_get("/rehearsal/calls", _show_calls)
    app.router.add_get("/rehearsal/counts", _show_counts)
    app.router.add_delete("/rehearsal/calls", _clear_calls)
    app.router.add_post("/rehearsal/faults", _set_faults)
    app.router.add_delete("/rehearsal/faults", _clear_faults)
    app.router.add_post("/rehearsal/limits", _set_limits)
    app.router.add_delete("/rehearsal/holds", _release)
    if settings.character:
        app.router.add_post("/{path:.*}", _bad_path)
    return app


def _api_paths(settings: RehearsalSettings) -> set[str]:
    """`/v1`, and the path that the character really has, so that only the host of its address needs a change."""
    if settings.character is None:
        return {"/v1"}
    recipe = settings.character.recipe
    real = urlsplit(recipe.base_url).path.rstrip("/")
    return {"/v1", real, *({"/openai/deployments/{deployment}"} if recipe.azure else ())}


async def _chat_completions(request: web.Request) -> web.Response:
    judge = request.app[JUDGE]
    loop = asyncio.get_running_loop()
    with request.app[CALL_LOG].under_way() as logged:
        if not judge.knows_key(_authorization(request)):
            return _respond(request.app, replies.bad_key(), logged)
        try:
            call = read_call(await request.read())
            logged.model, logged.task, logged.document = call.model, call.task, call.document_hash
            verdict = judge.decide(call, now=loop.time(), in_flight=logged.in_flight)
        except UnknownFaultError as unknown:
            return _respond(request.app, replies.error(400, unknown.problem), logged)
        except UnreadableRequestError as problem:
            return _respond(request.app, replies.error(400, str(problem)), logged)
        _write_down(verdict, logged)
        if verdict.reply is None:
            return await _leave_unanswered(request, verdict)
        if verdict.fault is Fault.HOLD:
            await request.app[OUTAGES].released.wait()
        if verdict.latency_seconds:
            await asyncio.sleep(verdict.latency_seconds)
        judge.settle(verdict, now=loop.time())
        return _respond(request.app, verdict.reply, logged)


async def _leave_unanswered(request: web.Request, verdict: Verdict) -> web.Response:
    if verdict.fault is Fault.HANG:
        await asyncio.sleep(_HANG_SECONDS)
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_AT_ONCE)
        transport.abort()
    return web.Response()  # goes nowhere


def _write_down(verdict: Verdict, logged: Call) -> None:
    logged.fault = verdict.fault
    logged.attempt = verdict.attempt
    logged.latency_seconds = verdict.latency_seconds
    logged.limited_by = verdict.limited_by
    logged.reserved_input_tokens = verdict.reserved.input_tokens
    logged.reserved_output_tokens = verdict.reserved.output_tokens
    if verdict.usage is not None:
        logged.prompt_tokens = verdict.usage.prompt_tokens
        logged.completion_tokens = verdict.usage.completion_tokens
        logged.cached_tokens = verdict.usage.cached_tokens
        logged.reasoning_tokens = verdict.usage.reasoning_tokens


def _respond(app: web.Application, reply: Reply, logged: Call) -> web.Response:
    judge, player = app[JUDGE], app[PLAYER]
    now, epoch = asyncio.get_running_loop().time(), time.time()
    if player is None:
        headers = judge.limit_headers(model=logged.model, now=now)
    else:
        reply = player.retold(reply, model=logged.model, attempt=logged.attempt, epoch=epoch)
        headers = dict(player.character.headers)
        if judge.settings.limit_headers:
            headers |= player.limit_headers(limits=judge.limits, model=logged.model, now=now, epoch=epoch)
    logged.status = reply.status
    logged.error_code = reply.error_code
    named = reply.body.get("id") if isinstance(reply.body, dict) else None
    headers = reply.headers | headers | {"x-request-id": str(named or "rehearsal")}
    if isinstance(reply.body, str):
        return web.Response(text=reply.body, status=reply.status, headers=headers)
    return _json(reply.body, status=reply.status, headers=headers)


def _authorization(request: web.Request) -> str | None:
    """The Authorization header, or what Azure sends in its place."""
    key = request.headers.get("api-key")
    return request.headers.get("Authorization") or (f"Bearer {key}" if key else None)


async def _bad_path(request: web.Request) -> web.Response:
    with request.app[CALL_LOG].under_way() as logged:
        return _respond(request.app, replies.bad_path(request.path), logged)


def _json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    written = json.dumps(body, ensure_ascii=False).encode()
    return web.Response(body=written, status=status, headers=headers, content_type="application/json")


async def _models(request: web.Request) -> web.Response:
    judge = request.app[JUDGE]
    if not judge.knows_key(_authorization(request)):
        reply, player = replies.bad_key(), request.app[PLAYER]
        if player is not None:
            reply = player.retold(reply, model=None, attempt=1, epoch=time.time())
        return _json(reply.body, status=reply.status)
    character = judge.settings.character
    names = judge.settings.models or (character.recipe.model if character else _DEFAULT_MODEL,)
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "rehearsal"} for name in names]
    return _json({"object": "list", "data": models})


async def _health(_request: web.Request) -> web.Response:
    return _json({"status": "ok"})


async def _show_calls(request: web.Request) -> web.Response:
    log = request.app[CALL_LOG]
    return _json(
        {
            "most_in_flight": log.most_in_flight,
            "limits": [vars(limits) for limits in log.limits],
            # `asdict` copies deeply, and would keep the calls waiting for seconds while it writes a long log.
            "calls": [vars(call) for call in log],
        }
    )


async def _show_counts(request: web.Request) -> web.Response:
    log = request.app[CALL_LOG]
    return _json({"calls": len(log), "in_flight": log.in_flight, "statuses": log.statuses})


async def _clear_calls(request: web.Request) -> web.Response:
    request.app[CALL_LOG].clear()
    return _json({})


async def _set_faults(request: web.Request) -> web.Response:
    try:
        request.app[OUTAGES].order(await request.json())
    except (ValueError, TypeError) as problem:
        return _json(replies.error(400, str(problem)).body, status=400)
    return _json({})


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[OUTAGES].clear()
    return _json({})


async def _set_limits(request: web.Request) -> web.Response:
    judge, log = request.app[JUDGE], request.app[CALL_LOG]
    try:
        judge.limits.change(_ordered(await request.json()), now=asyncio.get_running_loop().time())
    except (ValueError, TypeError, AttributeError) as problem:
        return _json(replies.error(400, str(problem)).body, status=400)
    log.note_limits(judge.limits.per_minute)
    return _json(judge.limits.per_minute)


def _ordered(order: dict[str, Any]) -> dict[Limited, float | None]:
    if unknown := order.keys() - set(Limited):
        raise ValueError(f"{min(unknown)} is no limit; there are {', '.join(Limited)}")
    return {Limited(name): None if limit is None else float(limit) for name, limit in order.items()}


async def _release(request: web.Request) -> web.Response:
    request.app[OUTAGES].released.set()
    return _json({})
