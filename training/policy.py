"""A policy: a model with its adapter and tokenizer, and the same model with the adapter off as its reference policy.

rendered = policy.render([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Which one?"}])
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jinja2 import TemplateError

from tasks.dialogue import Message
from training.batch import NO_TURN, Batch, Rendered, collate

A_DAY = "26 Jul 2024"
"""For templates that show today's date: a run must not depend on the day."""


class PolicyFailed(RuntimeError):
    """A model that cannot be loaded or used; the message names it and says what to do."""


class TooLong(ValueError):
    """A dialogue that is longer than the model's window."""


@dataclass
class Policy:
    """A base with its adapter and tokenizer."""

    model: Any
    tokenizer: Any
    base: str
    window: int
    loader: str

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, the model is the reference policy: the base, without a second copy of it."""
        with self.model.disable_adapter():
            yield

    def ends(self) -> set[int]:
        """Tokens that end a turn."""
        config = getattr(self.model, "generation_config", None)
        named = getattr(config, "eos_token_id", None)
        also = named if isinstance(named, list) else [] if named is None else [named]
        return {t for t in [self.tokenizer.eos_token_id, *also] if t is not None}

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens up to where the agent's reply begins. Raises PolicyFailed, TooLong."""
        ids: list[int] = self.tokenizer(self._text(messages, True), add_special_tokens=False)["input_ids"]
        return self._fitting(ids)

    def render(self, messages: Sequence[Message], only_last: bool = False) -> Rendered:
        """Tokens of a dialogue, and which are the agent's; `only_last`: of its last turn. Raises PolicyFailed, TooLong.

        Each of the agent's turns is found from the template itself: what it adds to the text before it that asks for a reply.
        """
        whole = self._text(messages, False)
        spans: list[tuple[int, int, int]] = []
        for n, message in enumerate(messages):
            if message["role"] == "assistant":
                before, after = self._text(messages[:n], True), self._text(messages[: n + 1], False)
                if not (after.startswith(before) and whole.startswith(after)):
                    raise PolicyFailed(
                        f"The chat template of {self.base} changes earlier turns when later ones follow, so that the agent's "
                        "tokens cannot be told: use a template that only appends."
                    )
                spans.append((len(before), len(after), len(spans)))
        ids, places = self._tokens(whole, [begin for begin, _, _ in spans])
        turns, ends = [NO_TURN] * len(ids), self.ends()
        for begin, end, turn in spans[-1:] if only_last else spans:
            for n, (left, right) in enumerate(places):
                if begin <= left < end and right > left:
                    turns[n] = turn
                    if ids[n] in ends:
                        break  # what a template writes after it, nobody says
        return Rendered(tuple(self._fitting(ids)), tuple(turns))

    def _tokens(self, text: str, begins: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens and where they stand. A reply begins with a token of its own, as when it was sampled: where one would hold the
        prompt's last character and the reply's first, the parts are tokenized apart.
        """
        cuts = [0, len(text)]
        while True:
            ids: list[int] = []
            places: list[tuple[int, int]] = []
            for left, right in pairwise(cuts):
                coded = self.tokenizer(text[left:right], add_special_tokens=False, return_offsets_mapping=True)
                ids += coded["input_ids"]
                places += [(left + begin, left + end) for begin, end in coded["offset_mapping"]]
            astride = {at for at in begins for begin, end in places if begin < at < end}
            if not astride:
                return ids, places
            cuts = sorted({*cuts, *astride})

    def collate(self, rows: Sequence[Rendered]) -> Batch:
        """The rows as one batch, padded on the tokenizer's side."""
        return collate(rows, self.tokenizer.pad_token_id, self.device, self.tokenizer.padding_side)

    def _fitting(self, ids: list[int]) -> list[int]:
        if len(ids) > self.window:
            raise TooLong(f"The dialogue has {len(ids)} tokens, and the window of {self.base} is {self.window}.")
        return ids

    def _text(self, messages: Sequence[Message], reply_follows: bool) -> str:
        rows = [{"role": m["role"], "content": self._plain(m["content"])} for m in messages]
        try:
            text: str = self.tokenizer.apply_chat_template(
                rows,
                tokenize=False,
                add_generation_prompt=reply_follows,
                date_string=A_DAY,
                strftime_now=lambda _: A_DAY,
            )
        except TemplateError as error:
            raise PolicyFailed(f"The chat template of {self.base} refuses the dialogue: {error}") from error
        return text

    def _plain(self, content: str) -> str:
        """Text without the template's own tokens: what somebody says must not pose as another's turn."""
        special = {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        while found := [token for token in special if token in content]:
            for token in found:
                content = content.replace(token, "")
        return content
