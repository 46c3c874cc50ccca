"""A policy as a chat model for the graphs, in process: alone, or many dialogues in lockstep: each round of replies is one batch.

model = open_chat("runs/demo/seed-0/tiny", Path("runs/demo/seed-0/sweet_house"))
runtime.run("collaborate", "thread-1", "own-backend/test/4/7", collaborate.Context(model=model, person="rules"))
"""

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from tasks.dialogue import Message
from training.config import LoadConfig
from training.generate import generate
from training.load import load_policy
from training.messages import plain
from training.policy import Policy, TooLong

Answer = Callable[[list[int], list[list[Message]]], list[AIMessage]]
"""Replies to the prompts of several jobs at once, whose numbers come first."""
REPLY = 1_024
"""Tokens of a reply, at most."""
AT_ONCE = 4
"""Jobs that run at a time, the others waiting: more only take the interpreter from each other."""


class PolicyChat(BaseChatModel):
    """A chat model whose replies come from `answer`, one prompt at a time."""

    answer: Any
    name: str = "palimpsest-policy"

    @property
    def _llm_type(self) -> str:
        return "palimpsest-policy"

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer([0], [plain(messages)])[0])])


def sampler(policy: Policy, *, most: int, temperature: float, seed: int, rows: int) -> Answer:
    """Replies of a policy, `rows` prompts in memory at once; the n-th call for a seed gives the same ones.

    A prompt that is longer than the window has an empty reply: that dialogue ends without an answer, and the others go on.
    """
    calls = itertools.count()

    def answer(numbers: list[int], prompts: list[list[Message]]) -> list[AIMessage]:
        replies: list[AIMessage] = []
        for at in range(0, len(prompts), rows):
            ids = [_fitting(policy, p) for p in prompts[at : at + rows]]
            fitting = [p for p in ids if p]
            drawn = seed * 1_000_003 + next(calls)
            sampled = iter(generate(policy, fitting, most=most, temperature=temperature, seed=drawn) if fitting else [])
            for prompt in ids:
                reply = next(sampled) if prompt else []
                text = policy.tokenizer.decode(reply, skip_special_tokens=True)
                usage = {
                    "input_tokens": len(prompt),
                    "output_tokens": len(reply),
                    "total_tokens": len(prompt) + len(reply),
                }
                replies.append(AIMessage(text, usage_metadata=usage))
        return replies

    return answer


def _fitting(policy: Policy, prompt: list[Message]) -> list[int]:
    try:
        return policy.prompt(prompt)
    except TooLong:
        return []


def run_lockstep(jobs: Sequence[Callable[[BaseChatModel], Any]], answer: Answer) -> list[Any]:
    """Run jobs, each in a thread with a chat model of its own, and answer them together: each time that all that are still
    running wait for a reply, in the jobs' order. So the same jobs give the same batches, and the same results.

    Raises what a job raises, or what `answer` does, after all have ended.
    """
    batcher = LockstepBatcher(len(jobs))
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(batcher.work, number, job) for number, job in enumerate(jobs)]
        try:
            while waiting := batcher.waiting():
                numbers, prompts = [number for number, _ in waiting], [prompt for _, prompt in waiting]
                batcher.deliver(numbers, answer(numbers, prompts))
        except BaseException as error:
            batcher.fail(error)  # nobody waits for ever
            raise
        return [future.result() for future in futures]


class LockstepBatcher:
    """Collects the prompts of all jobs that still run into one batch: each job waits for its own reply, and is woken alone."""

    def __init__(self, jobs: int) -> None:
        self._changed = threading.Condition()
        self._turn = threading.Semaphore(AT_ONCE)
        self._running = jobs
        self._asked: dict[int, tuple[list[Message], Future[AIMessage]]] = {}
        self._replies: dict[int, Future[AIMessage]] = {}
        self._failed: BaseException | None = None

    def work(self, number: int, job: Callable[[BaseChatModel], Any]) -> Any:
        try:
            with self._turn:
                return job(PolicyChat(answer=lambda _, prompts: [self._ask(number, prompts[0])]))
        finally:
            with self._changed:
                self._running -= 1
                self._wake()

    def _ask(self, number: int, prompt: list[Message]) -> AIMessage:
        with self._changed:
            if self._failed:
                raise self._no_reply()
            reply = Future[AIMessage]()
            self._asked[number] = prompt, reply
            self._wake()
        self._turn.release()
        try:
            return reply.result()
        finally:
            self._turn.acquire()

    def _wake(self) -> None:
        if len(self._asked) == self._running:
            self._changed.notify()

    def _no_reply(self) -> RuntimeError:
        error = RuntimeError(f"The policy gave no reply: {self._failed}")
        error.__cause__ = self._failed
        return error

    def waiting(self) -> list[tuple[int, list[Message]]]:
        """The prompts of all jobs, once none runs that does not wait; empty when all have ended."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._asked) == self._running)
            asked, self._asked = sorted(self._asked.items()), {}
            self._replies = {number: reply for number, (_, reply) in asked}
            return [(number, prompt) for number, (prompt, _) in asked]

    def deliver(self, numbers: list[int], replies: list[AIMessage]) -> None:
        for number, reply in zip(numbers, replies, strict=True):
            self._replies[number].set_result(reply)

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._failed = error
            for reply in [*self._replies.values(), *(reply for _, reply in self._asked.values())]:
                if not reply.done():
                    reply.set_exception(self._no_reply())


def open_chat(base: str | Path, adapter: Path | None = None, *, temperature: float = 0.0, seed: int = 0) -> PolicyChat:
    """A model folder, or a base with an adapter, as a chat model for the graphs. Raises PolicyFailed, OSError."""
    loading = LoadConfig()
    if adapter is not None:
        config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
        loading = LoadConfig(rank=config["r"], alpha=config["lora_alpha"])
    policy = load_policy(base, adapter, loading, merged=True)
    return PolicyChat(
        answer=sampler(policy, most=REPLY, temperature=temperature, seed=seed, rows=1), name=Path(base).name
    )
