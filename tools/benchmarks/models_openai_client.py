# /// script
# requires-python = ">=3.11"
# dependencies = ["openai>=1"]
# ///
"""The official client against a running `lazarus serve`: whole and streamed, and fifty requests at once as each alone.

uv run --script tools/benchmarks/models_openai_client.py http://127.0.0.1:8080
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from openai import BadRequestError, OpenAI

REQUESTS = 50
TOKENS = 16


def said(client: OpenAI, model: str, number: int, *, is_streamed: bool) -> str:
    messages = [{"role": "user", "content": f"Tell story {number}"}]
    settings = {"model": model, "max_tokens": TOKENS, "seed": number, "temperature": 0.8}
    if not is_streamed:
        return client.chat.completions.create(messages=messages, **settings).choices[0].message.content
    events = client.chat.completions.create(messages=messages, stream=True, **settings)
    return "".join(event.choices[0].delta.content or "" for event in events)


def main() -> None:
    client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    start = time.perf_counter()
    alone = [said(client, model, number, is_streamed=False) for number in range(REQUESTS)]
    one_by_one = time.perf_counter() - start
    start = time.perf_counter()
    with ThreadPoolExecutor(REQUESTS) as pool:
        together = list(
            pool.map(lambda number: said(client, model, number, is_streamed=number % 2 == 0), range(REQUESTS))
        )
    at_once = time.perf_counter() - start
    print(f"{model}: {REQUESTS} at once, half of them streamed, say what each said alone: {together == alone}")
    print(f"one by one {one_by_one:.2f} s, at once {at_once:.2f} s")
    scored = client.completions.create(model=model, prompt="Once upon a", max_tokens=4, logprobs=2).choices[0]
    print(f"log-probabilities of {scored.text!r}: {scored.logprobs.token_logprobs}")
    try:
        client.completions.create(model=model, prompt="x", best_of=2)
    except BadRequestError as error:
        print(f"refused in words: {error.body['message']}")


if __name__ == "__main__":
    main()
