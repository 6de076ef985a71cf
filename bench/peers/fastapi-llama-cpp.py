"""FastAPI and llama-cpp-python, one at a time: the usual way to a GGUF file from Python.

    python fastapi-llama-cpp.py MODEL.gguf PORT THREADS CONTEXT_TOKENS
"""

import sys
from collections.abc import Iterator

from llama_cpp import Llama
from one_at_a_time import Answer, serve

file, port, threads, context = sys.argv[1], *(int(value) for value in sys.argv[2:])
llama = Llama(
    model_path=file,
    n_ctx=context,
    n_threads=threads,
    n_threads_batch=threads,
    n_gpu_layers=0,
    verbose=False,
)


def generate(answer: Answer) -> Iterator[str]:
    request = answer.request
    chunks = llama.create_chat_completion(
        messages=request.messages,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        stream=True,
    )
    for chunk in chunks:
        choice = chunk["choices"][0]
        text = choice["delta"].get("content")
        if text:
            answer.completion_tokens += 1
            yield text
        answer.finish_reason = choice["finish_reason"] or answer.finish_reason
        if answer.stop.is_set():
            break
    # What it has in its cache: the prompt, and the answer but for its last token.
    answer.prompt_tokens = max(0, llama.n_tokens - answer.completion_tokens + 1)


serve(generate, port)
