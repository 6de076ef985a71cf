"""OpenAI's and LangChain's embeddings for Python, as their users write them: one JSON line of what each shows."""

import json
import sys

from langchain_openai import OpenAIEmbeddings
from openai import BadRequestError, OpenAI

ASKED = json.loads(sys.argv[1])
BASE_URL = ASKED["url"] + "/v1"


def with_openai():
    client = OpenAI(base_url=BASE_URL, api_key="none", max_retries=0, timeout=50)
    answer = client.embeddings.create(model=ASKED["model"], input=ASKED["texts"])
    shorter = client.embeddings.create(model=ASKED["model"], input=ASKED["texts"][0], dimensions=3)
    try:
        client.embeddings.create(model=ASKED["model"], input=["x"] * 10_000)
        refused = None
    except BadRequestError as error:
        refused = error.param
    return {
        "vectors": [one.embedding for one in answer.data],
        "tokens": answer.usage.prompt_tokens,
        "shorter": len(shorter.data[0].embedding),
        "refused": refused,
    }


def with_langchain():
    # Else it counts tokens by a table that it fetches.
    model = OpenAIEmbeddings(
        model=ASKED["model"], base_url=BASE_URL, api_key="none", max_retries=0, check_embedding_ctx_length=False
    )
    return {
        "vectors": model.embed_documents(ASKED["texts"]),
        "query": model.embed_query(ASKED["texts"][0]),
    }


print(json.dumps({"openai": with_openai(), "langchain": with_langchain()}))
