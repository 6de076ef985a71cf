"""LangChain's ChatOpenAI for Python, as its users write it."""

from langchain_openai import ChatOpenAI
from openai import APIError
from telling import ASKED, WEATHER, Pieces, stay_after_leaving, tell, tell_error


def ask():
    model = ChatOpenAI(
        model=ASKED["model"],
        base_url=ASKED["url"] + "/v1",
        api_key="none",
        max_tokens=ASKED["maxTokens"],
        max_retries=0,
        timeout=50,
        stream_usage=True,
    )
    if ASKED.get("tools"):
        model = model.bind_tools([WEATHER])
    if ASKED["stream"]:
        answer = stream(model)
    else:
        answer = model.invoke(ASKED["prompt"])
        tell(text=answer.content)
    if answer is None:
        return
    tell(finish=answer.response_metadata.get("finish_reason"))
    tell(tokens=answer.usage_metadata and answer.usage_metadata["output_tokens"])
    for call in answer.tool_calls:
        tell(call={"name": call["name"], "arguments": call["args"]})


def stream(model):
    """Returns the sum of all chunks; None if it left."""
    chunks = model.stream(ASKED["prompt"])
    pieces = Pieces()
    answer = None
    for chunk in chunks:
        pieces.tell(chunk.content)
        answer = chunk if answer is None else answer + chunk
        if pieces.is_time_to_leave():
            chunks.close()
            stay_after_leaving()
            return None
    return answer


try:
    ask()
except APIError as error:
    tell_error(error)
