"""What the scripts beside this file share: how they are asked, how they tell what their user sees, and how they leave."""

import json
import sys

ASKED = json.loads(sys.argv[1])

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def tell(**seen):
    print(json.dumps(seen), flush=True)


def tell_error(error):
    """Of any exception: its HTTP status where it has one, and its words."""
    status = getattr(error, "status_code", None)
    tell(error={"status": status, "message": f"{type(error).__name__}: {error}"})


def stay_after_leaving():
    """The answer is closed; the process lives on, so that it is the library's closing that the server sees."""
    tell(left=True)
    sys.stdin.read()


class Pieces:
    """Counts the pieces of text that were told, and says when it is time to leave."""

    def __init__(self):
        self.count = 0

    def tell(self, text):
        if text:
            self.count += 1
            tell(text=text)

    def is_time_to_leave(self):
        return self.count == ASKED.get("leaveAfter")
