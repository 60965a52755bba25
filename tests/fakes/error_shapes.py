"""The errors of known providers, in their own shapes and words, and what each means."""
# ruff: noqa: E501 - one error a line, as the provider sends it

from __future__ import annotations

from typing import Any

TOO_LARGE, FILTERED, EMPTY, DAY = "too_large", "content_filtered", "quota_exhausted", "day"
KEY, MODEL, PERMISSION, PATH, UNKNOWN = "credentials!", "model!", "permission", "path", "unknown"
LIMITED, AWAY, UNREADABLE = "rate_limited", "unavailable", "answer_unreadable"


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **more}}


def google(code: int, message: str, status: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}


def vllm(message: str, code: int = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}


def quota(*ids: str) -> dict[str, Any]:
    violations = [{"quotaMetric": "generate_content_free_tier_requests", "quotaId": name} for name in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


DELAY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
XAI = "Client specified an invalid argument"
PLAN = "You exceeded your current quota, please check your plan and billing details."
ARREARS = "Access denied, please make sure your account is in good standing."
ERRORS: list[tuple[str, int, Any, str]] = [
    # Too fast, at whatever status.
    ("google of a user", 403, {"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded", "domain": "usageLimits"}], "message": "User Rate Limit Exceeded"}}, LIMITED),
    ("google of a project", 403, {"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}], "message": "Quota exceeded"}}, LIMITED),
    ("google of a day", 403, {"error": {"code": 403, "errors": [{"reason": "dailyLimitExceeded"}], "message": "Daily Limit Exceeded"}}, DAY),
    ("bedrock", 400, {"__type": "ThrottlingException", "code": "ThrottlingException", "message": "Too many tokens, please wait before trying again."}, LIMITED),
    ("bedrock, words alone", 400, {"message": "Too many tokens, please wait before trying again."}, LIMITED),
    ("a gateway", 400, openai("Rate limit exceeded: 60 requests per minute."), LIMITED),
    ("a gateway's code", 500, openai("upstream said no", code="rate_limit_exceeded"), LIMITED),
    ("a gateway's type", 403, openai("no", type="rate_limit_error"), LIMITED),
    ("an api gateway", 400, {"message": "Rate exceeded"}, LIMITED),
    ("azure front", 503, openai("Too many requests. Please wait 20 seconds.", code="RateLimitReached"), LIMITED),
    ("dashscope", 400, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."}, LIMITED),
    ("dashscope's tokens", 429, openai(f"{PLAN} For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit", type="insufficient_quota", code="insufficient_quota"), LIMITED),
    ("dashscope's tokens, no link", 429, openai("Allocated quota exceeded, please increase your quota limit.", type="insufficient_quota", code="insufficient_quota"), LIMITED),
    ("dashscope's plan", 403, {"code": "AccessDenied", "message": "Rate limit exceeded. Please wait and try again, or upgrade your API plan."}, LIMITED),
    ("slow down", 400, openai("Slow down."), LIMITED),
    ("groq, too large by itself", 413, openai("Request too large for model: tokens per minute (TPM): Limit 6000, Requested 9000", code="rate_limit_exceeded"), TOO_LARGE),
    ("a gateway of a day", 500, openai("Token limit (500,000 per day) exceeded. Used: 508,311 tokens. Sign up for higher limits."), DAY),
    ("google's plan", 429, google(429, "You have exhausted your capacity on this model. Your quota will reset after 161h39m41s.", "RESOURCE_EXHAUSTED", {"reason": "QUOTA_EXHAUSTED"}), DAY),
    ("google's plan, soon", 429, google(429, "You have exhausted your quota. Your quota will reset after 2s.", "RESOURCE_EXHAUSTED", {"reason": "QUOTA_EXHAUSTED"}), LIMITED),
    ("databricks", 403, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for x."}, LIMITED),
    # The account, which no document can have closed.
    ("anthropic's organization", 400, anthropic("invalid_request_error", "This organization has been disabled."), PERMISSION),
    ("terminated", 403, openai("Your account was terminated for violating our usage policies."), PERMISSION),
    ("openai's organization", 400, openai("Your organization has been suspended for violating our usage policies."), PERMISSION),
    ("terminated, as a limit", 429, openai("Your access was terminated due to violation of our policies, please check your email for more information.", type="access_terminated"), PERMISSION),
    ("a company's proxy", 403, "<html><title>Access to this site has been blocked by your organization: content filter</title></html>", PERMISSION),
    ("blocked by a firewall", 400, openai("Access denied by the company firewall, see our acceptable use policy"), PERMISSION),
    ("a prompt that is flagged", 400, openai("Your prompt was flagged as violating our usage policy."), FILTERED),
    # Keys, at whatever status.
    ("openai", 401, openai("Incorrect API key provided: sk-a***b.", code="invalid_api_key"), KEY),
    ("openai without one", 401, openai("You didn't provide an API key."), KEY),
    ("azure", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}}, KEY),
    ("gemini", 400, google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), KEY),
    ("gemini expired", 400, google(400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT"), KEY),
    ("vertex", 401, google(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.", "UNAUTHENTICATED"), KEY),
    ("xai", 400, {"code": XAI, "error": "Incorrect API key provided: sk***se. You can obtain an API key."}, KEY),
    ("anthropic", 401, anthropic("authentication_error", "invalid x-api-key"), KEY),
    ("deepseek", 401, openai("Authentication Fails (no such user)", type="authentication_error"), KEY),
    ("moonshot", 401, openai("Invalid Authentication", type="invalid_authentication_error"), KEY),
    ("cohere", 401, {"id": "x", "message": "invalid api token"}, KEY),
    ("openrouter", 401, {"error": {"message": "No auth credentials found", "code": 401}}, KEY),
    ("cerebras", 401, {"message": "Wrong API Key", "type": "invalid_request_error", "param": "api_key", "code": "wrong_api_key"}, KEY),
    ("hugging face", 401, {"error": "Invalid username or password."}, KEY),
    ("bedrock", 403, {"message": "The security token included in the request is invalid."}, KEY),
    ("bedrock's bearer", 403, {"Message": "Bearer Token has expired"}, KEY),
    ("dashscope", 401, openai("Incorrect API key provided. ", code="invalid_api_key"), KEY),
    ("litellm", 400, openai("litellm.AuthenticationError: Authentication Error, Invalid proxy server token passed.", code="400", type="auth_error"), UNKNOWN),
    ("mistral", 401, {"detail": "Unauthorized"}, "credentials"),
    ("minimax", 500, {"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry the API secret key in the 'Authorization' field of the request header"}}, "credentials"),
    # What else was seen of late.
    ("vllm, what is left of the context", 400, vllm("max_tokens must be at least 1, got -212."), TOO_LARGE),
    ("vllm, a bound of nothing", 400, vllm("max_tokens must be at least 1, got 0."), UNKNOWN),
    ("vertex", 400, google(400, "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576. Reduce the input token count and try again.", "INVALID_ARGUMENT"), TOO_LARGE),
    ("nvidia", 404, {"status": 404, "title": "Not Found", "detail": "Function '1234-5': Not found for account 'abc'"}, MODEL),
    ("openrouter's data policy", 404, {"error": {"message": "No endpoints found matching your data policy (Free model publication).", "code": 404}}, PERMISSION),
    # Accounts.
    ("openai", 429, openai(PLAN, type="insufficient_quota", code="insufficient_quota"), EMPTY),
    ("openai inactive", 429, openai("Your account is not active, please check your billing details.", code="billing_not_active"), EMPTY),
    ("anthropic", 400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), EMPTY),
    ("anthropic's limit", 400, anthropic("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-01-01."), EMPTY),
    ("xai", 403, {"code": "The caller does not have permission", "error": "Your team has either used all available credits or reached its monthly spending limit."}, EMPTY),
    ("fireworks", 412, openai("Account acme is suspended, possibly due to reaching the monthly spending limit.", code="PRECONDITION_FAILED"), EMPTY),
    ("moonshot", 403, openai("Your account org-x <ak-y> is suspended, please check your plan and billing details", type="exceeded_current_quota_error"), EMPTY),
    ("deepseek", 402, openai("Insufficient Balance", code="invalid_request_error"), EMPTY),
    ("deepseek behind a gateway", 400, openai("DeepseekException - Insufficient Balance"), EMPTY),
    ("openrouter", 402, {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}, EMPTY),
    ("new-api", 403, openai("user quota is not enough", code="insufficient_user_quota"), EMPTY),
    ("dashscope", 400, openai(ARREARS, type="Arrearage", code="Arrearage"), EMPTY),
    ("zhipu", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, EMPTY),
    ("hugging face", 402, {"error": "You have exceeded your monthly included credits for Inference Providers."}, EMPTY),
    ("groq", 400, openai("API access blocked due to spend limit.", code="blocked_api_access"), EMPTY),
    ("xai's new team", 403, {"code": "x", "error": "Your newly created team doesn't have any credits or licenses yet."}, EMPTY),
    ("litellm", 400, openai("Budget has been exceeded! Current cost: 26.0, Max budget: 0.25", type="budget_exceeded"), EMPTY),
    ("litellm's user", 429, openai("LiteLLM User: x, exceeded budget for model=m", type="budget_exceeded"), EMPTY),
    ("gemini", 403, google(403, "This API method requires billing to be enabled.", "PERMISSION_DENIED", {"reason": "BILLING_DISABLED"}), EMPTY),
    ("siliconflow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}, EMPTY),
    ("cohere's trial of a month", 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, EMPTY),
    ("gemini without a free tier", 429, google(429, PLAN + "\\n* Quota exceeded for metric: free_tier_requests, limit: 0", "RESOURCE_EXHAUSTED", quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), DELAY), EMPTY),
    ("openai without a tier", 429, openai("Rate limit reached for gpt-5 in organization org-x on tokens per min. Limit: 0 / min. Current: 1 / min.", code="rate_limit_exceeded"), EMPTY),
    ("openrouter's bound of a key", 403, {"error": {"message": "Key limit exceeded (monthly limit). Manage it using the site.", "code": 403}}, EMPTY),
    ("kimi's plan", 403, anthropic("permission_error", "You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next cycle."), EMPTY),
    ("dashscope's free tokens", 429, {"code": "Throttling.AllocationQuota", "message": "Free allocated quota exceeded."}, EMPTY),
    ("ark's own limit", 429, openai("Your account [1] has reached the set inference limit for the [m] model, and the model service has been paused.", type="TooManyRequests", code="SetLimitExceeded"), EMPTY),
    ("the same without a code", 429, openai("Your account [1] has reached the set inference limit for the [m] model."), EMPTY),
    ("portkey's budget", 412, openai("Usage limits exceeded for this virtual key."), EMPTY),
    ("a gateway's key", 412, openai("API key budget exhausted"), EMPTY),
    ("minimax's plan", 500, {"base_resp": {"status_code": 2056, "status_msg": "usage limit exceeded"}}, EMPTY),
    # Quotas of a minute, and of a day.
    ("cohere's trial of a minute", 429, {"message": "You are using a Trial key, which is limited to 20 API calls / minute. You can continue to use the Trial key for free."}, LIMITED),
    ("a limit with a fraction", 429, openai("Rate limit reached. Limit: 0.5 / s. Current: 1 / s.", code="rate_limit_exceeded"), LIMITED),
    ("minimax", 500, {"base_resp": {"status_code": 1039, "status_msg": "token limit"}}, LIMITED),
    ("openai", 429, openai("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000.", code="rate_limit_exceeded"), LIMITED),
    ("openai of a day", 429, openai("Rate limit reached for gpt-4o on requests per day (RPD): Limit 200, Used 200.", code="rate_limit_exceeded"), DAY),
    ("groq of a day", 429, openai("Rate limit reached for model `l` on tokens per day (TPD): Limit 100000, Used 99000.", code="rate_limit_exceeded"), DAY),
    ("gemini", 429, google(429, PLAN, "RESOURCE_EXHAUSTED", quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), DELAY), LIMITED),
    ("gemini of a day", 429, google(429, PLAN, "RESOURCE_EXHAUSTED", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), DELAY), DAY),
    ("openrouter of a day", 429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}, DAY),
    ("bedrock", 429, {"message": "Too many tokens, please wait before trying again."}, LIMITED),
    ("cloudflare", 429, {"success": False, "errors": [{"message": "you have used up your daily free allocation of 10,000 neurons", "code": 4006}]}, DAY),
    ("mistral", 429, {"message": "Requests rate limit exceeded"}, LIMITED),
    ("github of a minute", 429, {"error": {"code": "RateLimitReached", "message": "Rate limit of 15 per 60s exceeded for UserByModelByMinute. Please wait 33 seconds before retrying."}}, LIMITED),
    ("github of a day", 429, {"error": {"code": "RateLimitReached", "message": "Rate limit of 150 per 86400s exceeded for UserByModelByDay. Please wait 62345 seconds before retrying."}}, DAY),
    ("github of a day, by a gateway", 429, openai("Upstream rate limit reached (UserByModelByDay). Retry after ~20663s.", code="rate_limit"), DAY),
    ("kiro of a month", 429, {"message": "You have reached the limit.", "reason": "MONTHLY_REQUEST_COUNT"}, DAY),
    # Filters.
    ("azure", 400, openai("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), FILTERED),
    ("openrouter", 403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}}, FILTERED),
    ("deepseek", 400, openai("Content Exists Risk", code="invalid_request_error"), FILTERED),
    ("moonshot", 400, openai("The request was rejected because it was considered high risk", type="content_filter"), FILTERED),
    ("dashscope", 400, openai("Input data may contain inappropriate content.", code="data_inspection_failed"), FILTERED),
    ("zhipu", 400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}, FILTERED),
    ("xai", 403, {"code": "x", "error": "Content violates usage guidelines. SAFETY_CHECK_TYPE_BIO"}, FILTERED),
    ("gemini", 400, google(400, "The prompt was blocked. PROHIBITED_CONTENT", "INVALID_ARGUMENT"), FILTERED),
    ("openai", 400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"), FILTERED),
    ("minimax inside a 200", 500, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}, FILTERED),
    ("a gateway inside a 200", 500, openai("The response was filtered", code="content_filter"), FILTERED),
    ("openai's other policy", 400, openai("This request has been flagged for potentially high-risk cyber activity. Learn more here: the site", type="invalid_request", code="cyber_policy"), FILTERED),
    ("portkey", 446, openai("The guardrail checks defined in the config failed. You can find more information in the `hook_results` object.", type="hooks_failed"), FILTERED),
    ("the same without a code", 400, openai("This request has been flagged for potentially high-risk cyber activity."), FILTERED),
    # Too large.
    ("openai", 400, openai("This model's maximum context length is 500 tokens.", param="messages", code="context_length_exceeded"), TOO_LARGE),
    ("openai's newer words", 400, openai("Your input exceeds the context window of this model."), TOO_LARGE),
    ("vllm", 400, vllm("This model's maximum context length is 500 tokens. However, you requested 900 tokens in the messages."), TOO_LARGE),
    ("vllm v1", 400, openai("The decoder prompt (length 900) is longer than the maximum model length of 500."), TOO_LARGE),
    ("vllm with a bound", 400, vllm("'max_tokens' or 'max_completion_tokens' is too large: 900. This model's maximum context length is 500 tokens and your request has 300 input tokens."), TOO_LARGE),
    ("sglang", 400, vllm("Input length (900 tokens) exceeds the maximum allowed length (500 tokens)."), TOO_LARGE),
    ("sglang's declared context", 400, vllm("The input (12345 tokens) is longer than the model's context length (8192 tokens)."), TOO_LARGE),
    ("sambanova", 400, openai("The maximum context length of DeepSeek-V3-0324 is 32768. However, answering your request will take 39732 tokens. Please reduce the length of the messages or the specified max_completion_tokens value."), TOO_LARGE),
    ("nvidia behind openrouter", 400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error": {"message": "maximum context length is 262144 tokens.", "code": 400}}', "provider_name": "Nvidia"}}}, TOO_LARGE),
    ("ds4", 400, openai("Prompt tokens (9) exceeds context size (5)", type="context_exceeded"), TOO_LARGE),
    ("tgi", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 500. Given: 900 `inputs` tokens and 100 `max_new_tokens`", "error_type": "validation"}, TOO_LARGE),
    ("tgi's other words", 422, {"error": "Input validation error: `inputs` must have less than 500 tokens. Given: 900"}, TOO_LARGE),
    ("llama.cpp", 400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_ctx": 500}}, TOO_LARGE),
    ("llama.cpp before", 500, {"error": {"code": 500, "message": "context size exceeded", "type": "server_error"}}, TOO_LARGE),
    ("ollama", 400, {"error": "input length exceeds maximum context length"}, TOO_LARGE),
    ("lm studio", 400, {"error": "Trying to keep the first 900 tokens when context the overflows. However, the model is loaded with context length of only 500 tokens, which is not enough."}, TOO_LARGE),
    ("gemini", 400, google(400, "The input token count (900) exceeds the maximum number of tokens allowed (500).", "INVALID_ARGUMENT"), TOO_LARGE),
    ("anthropic", 400, anthropic("invalid_request_error", "prompt is too long: 900 tokens > 500 maximum"), TOO_LARGE),
    ("anthropic with a bound", 400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 450 + 100 > 500"), TOO_LARGE),
    ("anthropic's size", 413, anthropic("request_too_large", "Request exceeds the maximum size"), TOO_LARGE),
    ("bedrock", 400, {"message": "Input is too long for requested model."}, TOO_LARGE),
    ("xai", 400, {"code": XAI, "error": "This model's maximum prompt length is 500 but the request contains 900 tokens."}, TOO_LARGE),
    ("mistral", 400, {"object": "error", "message": "Prompt contains 900 tokens, too large for model with 500 maximum context length", "type": "invalid_request_prompt"}, TOO_LARGE),
    ("groq", 400, openai("Please reduce the length of the messages or completion.", param="messages"), TOO_LARGE),
    ("groq by the minute", 413, openai("Request too large for model `l` on tokens per minute (TPM): Limit 6000, Requested 9000.", code="rate_limit_exceeded"), TOO_LARGE),
    ("openai by the minute", 429, openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 50000."), TOO_LARGE),
    ("cohere", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 500"}, TOO_LARGE),
    ("together", 422, openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193."), TOO_LARGE),
    ("openrouter", 400, {"error": {"code": 400, "message": "This endpoint's maximum context length is 500 tokens. However, you requested about 900 tokens."}}, TOO_LARGE),
    ("poolside", 400, openai("Input length 131393 exceeds the maximum allowed input length of 131040 tokens."), TOO_LARGE),
    ("minimax", 400, anthropic("bad_request_error", "invalid params, context window exceeds limit (2013)"), TOO_LARGE),
    ("moonshot", 400, openai("Invalid request: Your request exceeded model token limit: 500 (requested: 900)"), TOO_LARGE),
    ("moonshot's other words", 400, openai("Input token length too long"), TOO_LARGE),
    ("glm", 400, openai("tokens in request more than max tokens allowed"), TOO_LARGE),
    ("qwen", 400, openai("Range of input length should be [1, 500]", code="invalid_parameter_error"), TOO_LARGE),
    ("copilot", 400, openai("prompt token count of 900 exceeds the limit of 500", code="model_max_prompt_tokens_exceeded"), TOO_LARGE),
    ("github", 413, openai("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached"), TOO_LARGE),
    ("litellm", 400, openai("litellm.ContextWindowExceededError: litellm.BadRequestError: input too long", code="400"), TOO_LARGE),
    ("nginx", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", TOO_LARGE),
    ("exllama", 400, openai("context/cache: Job requires 1027 pages (only 1024 available) and cannot be enqueued.", type="invalid_request_error"), TOO_LARGE),
    ("siliconflow", 400, {"code": 20015, "message": "length of prompt_tokens (68957) must be less than max_seq_len (65536).", "data": None}, TOO_LARGE),
    ("rkllm", 400, {"error": "Prompt is 11543 tokens but the model context window is 4096 tokens."}, TOO_LARGE),
    # An answer that the provider has found invalid.
    ("groq", 400, openai("Failed to generate JSON. Please adjust your prompt.", code="json_validate_failed", failed_generation='{"a": '), UNREADABLE),
    ("groq's tools", 400, openai("Failed to call a function.", code="tool_use_failed"), UNREADABLE),
    ("llama.cpp", 500, {"error": {"code": 500, "message": "The model produced output that does not match the expected peg-native format", "type": "server_error"}}, UNREADABLE),
    ("llama.cpp's other words", 500, {"error": {"code": 500, "message": "Failed to parse input at pos 12: x", "type": "server_error"}}, UNREADABLE),
    # The bound on the answer, which no document can help.
    ("openai", 400, openai("max_tokens is too large: 160. This model supports at most 100 completion tokens.", param="max_tokens", code="invalid_value"), UNKNOWN),
    ("groq", 400, openai("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model"), UNKNOWN),
    ("deepseek", 400, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), UNKNOWN),
    ("anthropic", 400, anthropic("invalid_request_error", "max_tokens: 9999 > 8192, which is the maximum allowed number of output tokens for claude"), UNKNOWN),
    ("bedrock", 400, {"message": "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value that is lower than 4096."}, UNKNOWN),
    # Models and paths.
    ("openai", 404, openai("The model `x` does not exist or you do not have access to it.", code="model_not_found"), MODEL),
    ("azure", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}, MODEL),
    ("azure's path", 404, {"error": {"code": "404", "message": "Resource not found"}}, PATH),
    ("ollama", 404, openai('model "m" not found, try pulling it first', type="api_error"), MODEL),
    ("deepseek", 400, openai("Model Not Exist", code="invalid_request_error"), MODEL),
    ("gemini", 404, google(404, "models/x is not found for API version v1main.", "NOT_FOUND"), MODEL),
    ("nvidia", 410, {"type": "about:blank", "title": "Gone", "status": 410, "detail": "The model 'z-ai/glm4.7' has reached its end of life on 2026-05-14T00:00:00Z and is no longer available."}, MODEL),
    ("gemini", 404, google(404, "This model models/gemini-2.0-flash is no longer available to new users. Please update your code.", "NOT_FOUND"), MODEL),
    ("bedrock", 404, {"message": "This model version has reached the end of its life. Please refer to the documentation."}, MODEL),
    ("groq", 400, openai("The model `x` has been decommissioned and is no longer supported.", code="model_decommissioned"), MODEL),
    ("mistral", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}, MODEL),
    ("openrouter", 400, {"error": {"message": "x is not a valid model ID", "code": 400}}, MODEL),
    ("vllm", 404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}, MODEL),
    ("together", 404, openai("Unable to access model x. Please visit the site.", code="model_not_available"), MODEL),
    ("anthropic", 404, anthropic("not_found_error", "model: claude-3.5-x"), MODEL),
    ("vllm with a dot", 404, vllm("The model `Qwen/Qwen2.5-7B` does not exist.", 404), MODEL),
    ("together's endpoint", 400, openai("The dedicated endpoint for a/b-2.5 is not running."), MODEL),
    ("bedrock's own name", 400, {"message": "Invocation of model ID anthropic.claude-sonnet-4-20250514-v1:0 with on-demand throughput isn\u2019t supported. Retry your request with the ID or ARN of an inference profile."}, MODEL),
    ("together by a gateway", 400, {"status": "failure", "message": "together-ai error: Unable to access non-serverless model a/B-2.5. Please visit the site to start a new dedicated endpoint."}, MODEL),
    ("hugging face", 400, {"error": "The requested model 'a/B-2.5' is not supported by any provider you have enabled."}, MODEL),
    ("copilot", 400, {"error": {"message": "Requested model not available for session", "code": ""}}, MODEL),
    ("litellm", 400, openai("litellm.BadRequestError: You passed in model=x. There is no 'model_name' with this string", code="400"), MODEL),
    ("fastapi", 404, {"detail": "Not Found"}, PATH),
    ("a path that takes no POST", 405, {"detail": "Method Not Allowed"}, "path!"),
    ("a proxy", 407, "", "proxy!"),
    # Permissions.
    ("openai", 403, openai("Country, region, or territory not supported", code="unsupported_country_region_territory"), PERMISSION),
    ("litellm", 401, openai("Authentication Error, API Key not allowed to access model. This token can only access models=['x'].", type="auth_error"), PERMISSION),
    ("openrouter's providers", 404, {"error": {"message": "No allowed providers are available for the selected model.", "code": 404, "metadata": {"available_providers": ["z-ai"]}}}, PERMISSION),
    ("openai's scopes", 401, openai("You have insufficient permissions for this operation. Missing scopes: model.request."), PERMISSION),
    ("openai's verification", 400, openai("Your organization must be verified to use the model `gpt-5`. Please go to the site."), PERMISSION),
    ("a firewall that says so", 403, {"message": "Your request was blocked by our security policy."}, PERMISSION),
    ("a gateway's own key", 502, openai("upstream: invalid api key"), AWAY),
    ("a firewall", 403, "<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>", PERMISSION),
    # What passes.
    ("llama.cpp", 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, AWAY),
    ("lm studio", 404, openai("No models loaded. Please load a model in the developer page.", code="model_not_found"), AWAY),
    ("anthropic", 529, anthropic("overloaded_error", "Overloaded"), AWAY),
    ("groq", 498, openai("Flex tier capacity exceeded", code="capacity_exceeded"), AWAY),
    ("vertex", 499, google(499, "The operation was cancelled.", "CANCELLED"), AWAY),
    ("bedrock", 424, {"message": "Model error"}, AWAY),
    ("tgi", 424, {"error": "Request failed during generation", "error_type": "generation"}, AWAY),
    ("lm studio's crash", 400, {"error": "The model has crashed without additional information. (Exit code: 18446744072635812000)"}, AWAY),
    ("litellm, until one is well", 400, openai("litellm.BadRequestError: You passed in model=a/b-2.1. There are no healthy deployments for this model. Received Model Group=a/b-2.1", code="400"), AWAY),
    ("vllm whose engine is dead", 400, vllm("Background loop has errored already."), AWAY),
    ("ollama without memory", 500, {"error": "model requires more system memory (5.3 GiB) than is available (4.4 GiB)"}, AWAY),
    ("a schema behind litellm", 400, openai("litellm.ContentPolicyViolationError: AzureException - Invalid schema for response_format 'x'. content_policy_fallback=None.", code="400"), UNKNOWN),
    ("nothing known", 400, openai("No."), UNKNOWN),
    ("a 418", 418, {}, UNKNOWN),
    ("one that only says so", 422, {"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}, UNKNOWN),
]  # fmt: skip
