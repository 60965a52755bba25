"""One table of what the codes and words of all providers mean, whatever the status.

Each pattern stands for at least one server that is known to say so. Words are in small letters when they are compared.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Meaning(StrEnum):
    """What an error is about."""

    EMPTY_ACCOUNT = "the account is empty"
    LONG_QUOTA = "the quota of an hour or more is used up"
    TOO_FAST = "calls or tokens come faster than is allowed"
    CLOSED_ACCOUNT = "the account is closed, or a gate of its owner is"
    BAD_KEY = "the key is not accepted"
    FILTERED = "a content filter"
    OUTPUT_BOUND = "the bound on the answer is not one that the model takes"
    TOO_LARGE = "the request is too large"
    INVALID_ANSWER = "the provider has looked at the answer, and it is not what was asked for"
    NOT_READY = "the model is not there yet"
    UNKNOWN_MODEL = "there is no such model"
    NO_PERMISSION = "the key may not do this"


CODES: dict[Meaning, frozenset[str]] = {
    Meaning.EMPTY_ACCOUNT: frozenset(
        {
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "exceeded_current_quota_error",
            "insufficient_user_quota",
            "insufficient_balance",
            "insufficient_credits",
            "payment_required",
            "arrearage",
            "billing_disabled",
            "billing_error",
            "allocationquota.freetieronly",
            "allocationquota",
            "1113",
            "1008",
            "blocked_api_access",
            "2056",
            "account_suspended",
            "budget_exceeded",
            "setlimitexceeded",
            "exceed_token_quota_limit",
            "account_deactivated",
            "quota_exceeded",
            "pre_consume_token_quota_failed",
        }
    ),
    Meaning.BAD_KEY: frozenset(
        {
            "invalid_api_key",
            "api_key_invalid",
            "invalidapikey",
            "authentication_error",
            "1004",
            "authenticationerror",
            "invalid_authentication",
            "invalid_authentication_error",
            "incorrect_api_key_error",
            "unauthenticated",
            "wrong_api_key",
            "api_key_expired",
            "api_key_service_blocked",
            "invalid_iam_token",
            "access_token_expired",
            "unrecognizedclientexception",
            "expiredtokenexception",
            "invalidsignatureexception",
            "missing_api_key",
            "token_not_found",
            "invalid_token",
            "expired_api_key",
            "token_expired",
            "access_token_type_unsupported",
        }
    ),
    Meaning.FILTERED: frozenset(
        {
            "content_filter",
            "content_filtered",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "datainspectionfailed",
            "prohibited_content",
            "safety",
            "1301",
            "1026",
            "1027",
            "moderation_blocked",
            "content_moderation",
            "content_violation",
            "guardrail_intervened",
            "hooks_failed",
            "cyber_policy",
            "invalid_prompt",
        }
    ),
    Meaning.TOO_LARGE: frozenset(
        {
            "context_length_exceeded",
            "exceed_context_size_error",
            "string_above_max_length",
            "request_too_large",
            "tokens_limit_reached",
            "context_window_exceeded",
            "model_context_window_exceeded",
            "prompt_too_long",
            "input_too_long",
            "model_max_prompt_tokens_exceeded",
            "request_entity_too_large",
            "1261",
            "context_too_large",
        }
    ),
    Meaning.UNKNOWN_MODEL: frozenset(
        {
            "model_not_found",
            "model_not_exist",
            "deploymentnotfound",
            "invalid_model",
            "unknown_model",
            "modelnotfound",
            "unknownmodel",
            "model_decommissioned",
            "model_not_available",
            "model_not_supported",
            "1211",
            "modelnotopen",
            "not_found_model",
            "model_not_found_error",
        }
    ),
    Meaning.INVALID_ANSWER: frozenset({"json_validate_failed", "tool_use_failed"}),
    Meaning.NO_PERMISSION: frozenset({"permission_denied", "permission_error", "access_denied", "accessdenied"}),
    Meaning.NOT_READY: frozenset({"model_loading", "unavailable_error", "model_not_ready", "model_unloaded"}),
}
TOO_FAST_CODE = re.compile(
    r"^rate_?limit|ratelimitexceeded$|^throttl|too[ _]?many[ _]?requests|^requestlimitexceeded|^daily_?limit_?exceeded"
    r"|^1039$"
)
LONG_QUOTA_CODE = re.compile(r"per(?:day|hour|month|week)|^(?:daily|weekly|monthly)")
QUOTA_CODES = frozenset({"resource_exhausted"})
"""A quota that comes back, even if the words mention plan and billing (Gemini). It may be longer than a minute's."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_KEY = r"(?:api|access|subscription|secret)[ _-]?(?:key|token)"
_BAD = r"(?:incorrect|invalid|wrong|bad|unknown|expired|missing|revoked|disabled|malformed|inactive|unauthorized)"
_BOUND = r"max_?(?:completion_|output_)?tokens\W{0,3}"
_NAME = r"(?:[^;.]|\.(?=\S)){0,120}?"
"""Up to the end of the sentence. A dot inside a name ends none."""
_MODEL = rf"\bmodels?\b{_NAME}"
NONE_AT_ALL = re.compile(r"\blimit: 0\b(?!\.\d)|\bfree allocated quota exceeded\b")
"""The account has no such quota at all, or no more of what it was given once: waiting brings none."""
OF_A_MINUTE = re.compile(
    r"\ballocated quota exceeded\b|#token-limit\b"
    r"|\bcurrent (?:quota|limit|threshold) of (?:concurrent|[a-z/]{1,20} per (?:second|minute))\b"
)
"""A pace, though the code says that the account is empty (Alibaba, Scaleway)."""
WORDS: dict[Meaning, re.Pattern[str]] = {
    Meaning.EMPTY_ACCOUNT: _any(
        r"insufficient[ _](?:account[ _])?(?:balance|credits?|funds|quota|user quota)",
        r"(?:credit |account )?balance is (?:too low|insufficient|not enough|negative|exhausted|used up)",
        r"(?:used|spent|exhausted|consumed) all (?:of )?(?:your |the )?(?:available |prepaid )?credits?",
        r"(?:reached|exceeded|hit|over) (?:its|your|the) (?:\w+ ){0,2}"
        r"(?:spending|spend|usage|billing|credit|inference) limits?",
        r"(?:spending|spend|billing hard|credit|usage|\bkey) limits? (?:ha\w+ been |was |is )?(?:reached|exceeded)",
        r"due to (?:the )?spend(?:ing)? limit",
        r"exceeded your current quota",
        r"exceeded your (?:monthly )?included credits",
        r"account (?:\S+ ){0,3}(?:is |has been )?(?:suspended|deactivated|in arrears|overdue|not active)",
        r"account is in good standing",
        r"payment (?:is )?required",
        r"(?:out of|no|not enough|more|negative|have any) credits?\b(?! card)",
        r"requires billing to be enabled",
        r"please (?:recharge|top up|purchase (?:more )?credits|add (?:more )?credits)",
        r"free tier of the model has been exhausted",
        r"(?:subscription|plan) quota (?:has been |is )?(?:exceeded|exhausted)",
        r"budget (?:has been |is |was )?(?:exceeded|exhausted)|exceed\w*(?: the| your)? budget",
        r"余额不足|欠费|请充值",
        r"trial key\b.*\blimited to [^;.]{0,40}(?:/|per|a) ?month",
        NONE_AT_ALL.pattern,
    ),
    Meaning.LONG_QUOTA: _any(
        r"\bper[ _-]?(?:hour|day|week|month)\b",
        r"/ ?(?:hour|day|week|month)\b",
        r"\b(?:rpd|tpd|rph|tph)\b",
        r"\b(?:hourly|daily|weekly|monthly)\b[^;.]{0,40}(?:limit|quota|allowance|allocation|usage)",
        r"(?:limit|quota) (?:of|for) (?:the|this) (?:hour|day|week|month)",
        r"\breset after \d+h|\bper 86400 ?s\b|bymodelbyday",
    ),
    Meaning.TOO_FAST: _any(
        r"\brate[ _-]?limit\w*\b[^;.]{0,60}\b(?:exceeded|reached|hit)\b",
        r"\b(?:exceed\w*|reached|hit|over)\b[^;.]{0,60}\brate[ _-]?limits?\b",
        r"\b(?:request|token|call|transaction|tpm|rpm|user)s?(?: \w+)? rate\b[^;.]{0,40}\bexceed",
        r"^rate exceeded\b|\brate exceeded\.?$|\brequest limit reached\b",
        r"\b(?:request|token|call)s? limit\b[^;.]{0,30}\bper (?:minute|hour|day|week|month)\b[^;.]{0,10}\bexceeded\b",
        r"\btoo many requests\b|\bslow down\b|\brequests? (?:was |were |is |are |has been )?throttled\b",
        r"\bplease wait (?:before|(?:for )?\d+ ?(?:s|seconds|minutes))\b",
        r"(?:请求|调用)(?:过于频繁|频率(?:过高|超限))|速率限制",
    ),
    Meaning.CLOSED_ACCOUNT: _any(
        r"\b(?:account|organi[sz]ation|workspace|tenant|subscription)\b[^;.]{0,60}"
        r"\b(?:disabled|suspended|terminated|deactivated|banned|closed)\b",
        r"\byour access (?:was|has been) terminated\b",
        r"\baccess\b[^;.]{0,60}\b(?:blocked|denied|restricted)\b[^;.]{0,10} by (?:\w+ )?"
        r"(?:organi[sz]ation|company|administrator|proxy|firewall|network|policy administrator)",
    ),
    Meaning.BAD_KEY: _any(
        rf"{_BAD} (?:\S+ )?{_KEY}",
        rf"{_KEY}s?[^;.]{{0,60}}? (?:is |was |are |has )?(?:not valid|not found|{_BAD}|deactivated)\b",
        rf"(?:provide|provided|supply|specify|pass|no|without)(?: an?| a valid| your)? {_KEY}",
        r"no (?:auth|authentication) credentials",
        r"invalid (?:auth\w*|bearer) (?:credentials?|token|header|key|scheme)",
        r"\b(?:invalid|bad|wrong) (?:api )?(?:credentials|token provided)|invalid username or password",
        r"authentication (?:fails?|failed)\b|^login fail",
        rf"(?:bearer|access|security|auth\w*) token[^;.]{{0,60}}? (?:is |has |was )?(?:not valid|{_BAD})\b",
        r"invalid subscription key",
        r"expected oauth 2 access token",
        r"身份验证失败|令牌已过期|无效的令牌|api ?key ?无效",
    ),
    Meaning.FILTERED: _any(
        r"content management policy|\brequest (?:has been|was) flagged\b",
        r"content exists risk",
        r"considered high risk",
        r"(?:input|prompt|content|message|text)s?(?: \S+){0,3}"
        r" (?:was|were|is|has been|been|got) (?:flagged|blocked|filtered|moderated)",
        r"(?:flagged|blocked) (?:as|by|due to|for|because)[^;.]{0,60}"
        r"(?:safety|moderation|(?:content|usage) (?:polic|filter)|guardrail|sensitive|harmful)",
        r"violat\w+ [^;.]{0,60}(?:usage|content|safety|acceptable use) (?:polic|guideline)",
        r"prohibited_content|safety_check|blockreason|content[ _]filter",
        r"inappropriate content|不安全或敏感内容|敏感内容|data_inspection_failed",
        r"guardrail[^;.]{0,40}(?:intervened|blocked|violat)",
    ),
    Meaning.OUTPUT_BOUND: _any(
        rf"{_BOUND} (?:value )?(?:is|was) too (?:large|high|big)(?!.*maximum context length)",
        rf"{_BOUND} (?:must|should|cannot|can not|may not) be(?!.*got -\d)",
        rf"{_BOUND} ?(?:exceeds? (?!context)|>|: ?\d+ ?>)",
        r"(?:range|value) of max_?\w*tokens",
        r"invalid max_?\w*tokens",
        r"maxoutputtokens value of",
        r"supports at most \d+ (?:completion|output) tokens",
        r"maximum (?:allowed )?number of output tokens",
        r"maximum tokens you requested exceeds?",
    ),
    Meaning.TOO_LARGE: _any(
        r"(?:maximum|max|model'?s?|available|the) context[ _](?:length|size|window)",
        r"context[ _](?:length|window|size|limit)[^;.]{0,60}(?:exceed|overflow|too|greater|larger|limit|full|only)",
        r"(?:exceed|overflow|greater|larger|longer|beyond|too)\w*[^;.]{0,60} context\b",
        r"contextwindowexceeded",
        r"(?:prompt|input|request|message|messages|text|document|query)s?(?: is| are|)? too (?:long|large|big)",
        r"(?:request|payload|request entity|body) too large",
        r"too large for (?:the |this )?model|length (?:is )?too long",
        r"(?:input|prompt|request)[ _]?(?:tokens?|length)?(?: count)?[^;]{0,80}"
        r"exceed[^;]{0,40}(?:limit|maximum|max|length|tokens|allowed)",
        r"exceed\w*[^;.]{0,40}(?:maximum|max)[^;.]{0,30}(?:number of tokens|tokens|length|input)",
        r"maximum (?:prompt|input|model|sequence) length",
        r"longer than the maximum",
        r"length of (?:prompt|input)_?tokens\b[^;.]{0,20}must be less",
        r"job requires \d+ pages",  # of the cache, as ExLlama counts them
        r"`?inputs`? tokens \+ `?max_new_tokens`? must be|`?inputs`? must have less than",
        r"reduce (?:the length|your (?:prompt|message|input))",
        r"range of input length",
        r"exceeded model token limit|token limit exceeded|exceeds? (?:the )?(?:\w+ )?token limit",
        r"too many (?:input |prompt |total )?(?:tokens|text bytes)",
        r"tokens in request more than max tokens",
        r"(?:prompt|input)[ _]tokens? limit exceeded",
        r"token count\b[^;]{0,80}\bonly supports up to",
        r"must be at least 1, got -\d+",  # what the prompt leaves of the context, as vLLM computes it
        r"n_ctx|上下文|prompt 超长|输入过长",
    ),
    Meaning.INVALID_ANSWER: _any(
        r"failed to generate (?:valid )?json",
        r"failed to validate json",
        # llama.cpp has an answer that its parser does not take.
        r"model produced output that does not match",
        r"^failed to parse input at pos",
    ),
    Meaning.NOT_READY: _any(
        r"(?:model|server)[^;.]{0,80}(?:is |are )?(?:currently |still )?(?:loading|starting|warming)",
        r"loading (?:the )?model",
        r"model (?:was |is |has been )?unloaded|no models? (?:is |are )?loaded|failed to load model",
        r"\bno healthy (?:deployments?|upstreams?|endpoints?|instances?)\b|\bmodel has crashed\b",
        r"^background loop (?:is stopped|has errored)",  # vLLM, whose engine has died
    ),
    Meaning.UNKNOWN_MODEL: _any(
        rf"{_MODEL}(?:not exist\b|not found|not be found)",
        rf"{_MODEL}(?:has been|was|is) (?:decommissioned|deprecated|retired|removed|discontinued)",
        r"\bmodels? ['\"`\w./:-]{1,100} (?:is|are) (?:not (?:available|supported|a valid)|unsupported|invalid|unknown)",
        rf"{_MODEL}(?:(?:is|are) no longer available|reached (?:its|the) end of (?:its )?life)",
        r"(?:no such|unknown|invalid|unsupported|nonexistent) model\b",
        r"requested model not available|access non-serverless model|there is no 'model_name' with this string",
        r"invocation of model id \S{1,200} with on-demand throughput",
        r"is not a (?:valid|known|chat) model|^model: \S+$",
        rf"endpoint for{_NAME} is not running",
        r"deployment for this resource does not exist|deployment[^;.]{0,80}not found",
        r"no endpoints found for (?!.*(?:parameter|support))",
        r"function \S{1,100} not found for account",
        r"supported (?:api )?model names? (?:is|are)",
        r"模型不存在",
    ),
    Meaning.NO_PERMISSION: _any(
        r"(?:does not|do not|don'?t|not) have (?:the )?(?:\w+ )?(?:permission|access)",
        r"permission[ _]denied|access denied|not authorized|not allowed to|insufficient permissions?|missing scopes?",
        r"organization must be verified|no allowed providers are available",
        r"no endpoints found matching your data policy",
        r"country, region|user location is not supported|not available in your (?:country|region)",
    ),
}
OVERLOAD_CODES = frozenset(
    {
        "overloaded",
        "overloaded_error",
        "engine_overloaded",
        "engine_overloaded_error",
        "server_overloaded",
        "serveroverloaded",
        "model_overloaded",
        "capacity_exceeded",
        "server_busy",
        "slow_down",
    }
)
OVERLOAD_WORDS = _any(
    r"\boverload(?:ed)?\b",
    r"\b(?:server|service|system|llm|model|engine|backend|worker|gpu)s?\b[^;.]{0,30}\bbusy\b",
    r"\bbusy, (?:please )?(?:try|retry)",
    r"\bno (?:\w+ )?(?:slots?|workers?|replicas?|instances?|gpus?|capacity)\b[^;.]{0,30}\b(?:available|free|left)\b",
    r"\b(?:at|over|out of|insufficient|not enough|exceed\w*|limited)(?: \w+)? capacity\b",
    r"\bcapacity(?: \w+){0,3} (?:exceeded|exhausted|reached|constrained|unavailable)",
    r"\bqueue is full\b|maximum (?:pending|queued) requests exceeded",
    r"\b(?:high|heavy|too much) (?:traffic|load|demand)\b",
    r"(?:服务器|系统|服务|模型)[^;.]{0,6}(?:繁忙|过载)|负载(?:过高|已饱和)",
)
"""Words of servers that are well but overloaded."""
