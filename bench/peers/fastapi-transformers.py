"""FastAPI and transformers' `generate`, one at a time: what most tutorials deploy. The weights are those of the GGUF file,
unpacked to float32.

    python fastapi-transformers.py MODEL.gguf PORT THREADS
"""

import os
import sys
import threading
from collections.abc import Iterator

# What is not in the file is not wanted.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from one_at_a_time import Answer, serve
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

file, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
folder, name = os.path.split(os.path.abspath(file))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
model.eval()


class Follow(StoppingCriteria):
    """Counts the tokens of an answer, and ends it when its client has left."""

    def __init__(self, answer: Answer):
        self.answer = answer

    def __call__(self, ids, scores, **_) -> bool:
        self.answer.completion_tokens = ids.shape[1] - self.answer.prompt_tokens
        return self.answer.stop.is_set()


def generate(answer: Answer) -> Iterator[str]:
    request = answer.request
    prompt = tokenizer.apply_chat_template(
        request.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer.prompt_tokens = prompt["input_ids"].shape[1]
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    sampling = {"do_sample": False}
    if request.temperature > 0:
        sampling = {"do_sample": True, "temperature": request.temperature}
    failure: list[BaseException] = []

    def run() -> None:
        try:
            with torch.inference_mode():
                model.generate(
                    **prompt,
                    **sampling,
                    max_new_tokens=request.max_tokens,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([Follow(answer)]),
                    pad_token_id=tokenizer.eos_token_id,
                )
        except BaseException as error:
            failure.append(error)
            streamer.end()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield from streamer
    thread.join()
    if failure:
        raise failure[0]
    answer.finish_reason = "length" if answer.completion_tokens >= request.max_tokens else "stop"


serve(generate, port)
