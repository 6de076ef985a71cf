"""A reader of lines as the field's samples are written: no status is looked at, every line is JSON, the first choice has the
text. What is no such line is a KeyError to it."""

import json

import requests
from telling import ASKED, Pieces, stay_after_leaving, tell_error


def ask():
    response = requests.post(
        f"{ASKED['url']}/v1/models/{ASKED['model']}/generate_stream",
        headers={"Authorization": "Bearer some-key", "Content-Type": "application/json"},
        json={
            "prompt": ASKED["prompt"],
            "max_tokens": ASKED["maxTokens"],
            "temperature": 0.6,
            "stream": True,
        },
        stream=True,
        timeout=50,
    )
    pieces = Pieces()
    for line in response.iter_lines():
        if line:
            pieces.tell(json.loads(line)["choices"][0]["text"])
        if pieces.is_time_to_leave():
            response.close()
            stay_after_leaving()
            return


try:
    ask()
except KeyError as error:
    tell_error(error)
