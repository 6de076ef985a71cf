"""OpenAI's client for Python, as its users write it."""

import json

from openai import APIError, OpenAI
from telling import ASKED, WEATHER, Pieces, stay_after_leaving, tell, tell_error


def ask():
    client = OpenAI(base_url=ASKED["url"] + "/v1", api_key="none", max_retries=0, timeout=50)
    body = {
        "model": ASKED["model"],
        "messages": [{"role": "user", "content": ASKED["prompt"]}],
        "max_tokens": ASKED["maxTokens"],
    }
    if ASKED.get("tools"):
        body["tools"] = [WEATHER]
    if ASKED["stream"]:
        stream(client, body)
    else:
        whole(client, body)


def whole(client, body):
    completion = client.chat.completions.create(**body)
    [choice] = completion.choices
    tell(text=choice.message.content, reasoning=getattr(choice.message, "reasoning_content", None))
    tell(finish=choice.finish_reason, tokens=completion.usage.completion_tokens)
    for call in choice.message.tool_calls or []:
        tell(call={"name": call.function.name, "arguments": json.loads(call.function.arguments)})


def stream(client, body):
    chunks = client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    pieces = Pieces()
    calls = {}
    for chunk in chunks:
        if chunk.usage:
            tell(tokens=chunk.usage.completion_tokens)
        for choice in chunk.choices:
            if choice.finish_reason:
                tell(finish=choice.finish_reason)
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"name": "", "arguments": ""})
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
            reasoning = getattr(choice.delta, "reasoning_content", None)
            if reasoning:
                tell(reasoning=reasoning)
            pieces.tell(choice.delta.content)
        if pieces.is_time_to_leave():
            chunks.close()
            stay_after_leaving()
            return
    for call in calls.values():
        tell(call={"name": call["name"], "arguments": json.loads(call["arguments"])})


try:
    ask()
except APIError as error:
    tell_error(error)
