"""OpenAI's client for Python in its newer dialect, as its users write it."""

import json

from openai import APIError, OpenAI
from telling import ASKED, WEATHER, Pieces, stay_after_leaving, tell, tell_error


FINISHES = {"max_output_tokens": "length", "content_filter": "content_filter"}


def ask():
    client = OpenAI(base_url=ASKED["url"] + "/v1", api_key="none", max_retries=0, timeout=50)
    body = {
        "model": ASKED["model"],
        "input": ASKED["prompt"],
        "max_output_tokens": ASKED["maxTokens"],
    }
    if ASKED.get("tools"):
        body["tools"] = [{"type": "function", **WEATHER["function"]}]
    if ASKED["stream"]:
        stream(client, body)
    else:
        whole(client, body)


def whole(client, body):
    response = client.responses.create(**body)
    reasoning = "".join(
        part.text for item in response.output if item.type == "reasoning" for part in item.content or []
    )
    tell(text=response.output_text, reasoning=reasoning)
    tell_end(response)


def stream(client, body):
    events = client.responses.create(**body, stream=True)
    pieces = Pieces()
    for event in events:
        if event.type == "response.reasoning_text.delta":
            tell(reasoning=event.delta)
        elif event.type == "response.output_text.delta":
            pieces.tell(event.delta)
        elif event.type in ("response.completed", "response.incomplete"):
            tell_end(event.response)
        if pieces.is_time_to_leave():
            events.close()
            stay_after_leaving()
            return


def tell_end(response):
    # This dialect has no word for why a whole answer ended: its users look whether there is something to call.
    calls = [item for item in response.output if item.type == "function_call"]
    for call in calls:
        tell(call={"name": call.name, "arguments": json.loads(call.arguments)})
    whole = "tool_calls" if calls else "stop"
    finish = whole if response.status == "completed" else FINISHES.get(response.incomplete_details.reason)
    tell(finish=finish, tokens=response.usage.output_tokens if response.usage else None)


try:
    ask()
except APIError as error:
    tell_error(error)
