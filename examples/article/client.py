"""Streams an answer line by line, with nothing but `requests`.

    pip install requests
    python examples/article/client.py "Tell me about rivers."
"""

import json
import os
import sys

import requests

BASE_URL = os.environ.get("SLUICE_URL", "http://127.0.0.1:8080")
API_KEY = os.environ.get("SLUICE_API_KEY", "any key will do on an open server")


def generate(prompt: str, max_tokens: int = 512, temperature: float = 0.6):
    """Yields the answer's pieces as they are made."""
    response = requests.post(
        f"{BASE_URL}/v1/models/deepseek-r1/generate_stream",
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        json={"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature, "stream": True},
        stream=True,
        timeout=120,
    )
    for line in response.iter_lines():
        if not line:
            continue
        message = json.loads(line)
        if "error" in message:
            raise RuntimeError(message["error"]["message"])
        yield message["choices"][0]["text"]


if __name__ == "__main__":
    for piece in generate(" ".join(sys.argv[1:]) or "Tell me about rivers."):
        print(piece, end="", flush=True)
    print()
