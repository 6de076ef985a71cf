"""What is the same in the FastAPI servers that Sluice is compared with: OpenAI's chat route as a stream, one answer at a
time. It is written as one would write it by hand, and fair: waiting clients are served in their order, one that leaves
gives up its place at once, and an answer whose client has left is stopped.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Request(BaseModel):
    messages: list[dict]
    max_tokens: int = 64
    temperature: float = 0.0


class Answer:
    """One answer under way: what a model's own code is given, and what it tells."""

    def __init__(self, request: Request):
        self.request = request
        self.stop = threading.Event()
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.finish_reason = "stop"


def serve(generate: Callable[[Answer], Iterator[str]], port: int) -> None:
    """`generate` runs in a thread of its own, never twice at once, and ends soon after `stop` is set."""
    app = FastAPI()
    # Not a threading.Lock: a client that left while it waited for one would hold up all others for ever.
    lock = asyncio.Lock()

    @app.get("/health")
    def health() -> dict:
        return {"status": "ok"}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> StreamingResponse:
        return StreamingResponse(stream(request), media_type="text/event-stream")

    async def stream(request: Request) -> AsyncIterator[str]:
        answer = Answer(request)
        pieces: asyncio.Queue = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def work() -> None:
            last = None
            try:
                for text in generate(answer):
                    loop.call_soon_threadsafe(pieces.put_nowait, text)
            except Exception as error:
                last = error
            loop.call_soon_threadsafe(pieces.put_nowait, last)
            # Here and not where the stream ends: who left early leaves a model that still computes its last token.
            loop.call_soon_threadsafe(lock.release)

        await lock.acquire()
        threading.Thread(target=work, daemon=True).start()
        try:
            while isinstance(piece := await pieces.get(), str):
                if piece:
                    yield event(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
            if piece is not None:
                yield event(error={"message": str(piece)})
                return
            yield event(choices=[{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}])
            counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
            yield event(choices=[], usage=counts)
            yield "data: [DONE]\n\n"
        finally:
            answer.stop.set()

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def event(**fields) -> str:
    return f"data: {json.dumps({'object': 'chat.completion.chunk', **fields})}\n\n"
