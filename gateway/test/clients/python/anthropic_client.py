"""Anthropic's client for Python, as its users write it."""

from anthropic import Anthropic, APIError
from telling import ASKED, WEATHER, Pieces, stay_after_leaving, tell, tell_error

FINISHES = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def ask():
    client = Anthropic(base_url=ASKED["url"], api_key="none", max_retries=0, timeout=50)
    body = {
        "model": ASKED["model"],
        "messages": [{"role": "user", "content": ASKED["prompt"]}],
        "max_tokens": ASKED["maxTokens"],
    }
    if ASKED.get("tools"):
        function = WEATHER["function"]
        body["tools"] = [
            {
                "name": function["name"],
                "description": function["description"],
                "input_schema": function["parameters"],
            }
        ]
    if ASKED["stream"]:
        stream(client, body)
    else:
        told(client.messages.create(**body), with_text=True)


def stream(client, body):
    pieces = Pieces()
    with client.messages.stream(**body) as events:
        for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                pieces.tell(event.delta.text)
            if pieces.is_time_to_leave():
                break
        if not pieces.is_time_to_leave():
            told(events.get_final_message(), with_text=False)
    if pieces.is_time_to_leave():
        stay_after_leaving()


def told(message, with_text):
    for block in message.content:
        if block.type == "text" and with_text:
            tell(text=block.text)
        if block.type == "thinking":
            tell(reasoning=block.thinking)
        if block.type == "tool_use":
            tell(call={"name": block.name, "arguments": block.input})
    tell(finish=FINISHES.get(message.stop_reason, message.stop_reason), tokens=message.usage.output_tokens)


try:
    ask()
except APIError as error:
    tell_error(error)
