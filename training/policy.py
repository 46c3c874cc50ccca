"""The one model loader: a base with a LoRA adapter, and the same model with the adapter off as its reference policy.

    policy = load_policy("runs/demo/tiny")                                # a folder, or a name on the Hugging Face hub
    rendered = policy.render([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Which one?"}])

On a GPU Unsloth loads it, in bf16 or 4 bit; on a CPU Transformers and PEFT do, in fp32. The adapter's configuration and files are
the same.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError

Message = Mapping[str, str]
"""role (system, user, assistant) and content, as chat templates take them."""
NO_TURN = -1
A_DAY = "26 Jul 2024"
"""For templates that show today's date: a run must not depend on the day."""


class PolicyFailed(RuntimeError):
    """A model that cannot be loaded or used; the message names it and says what to do."""


class TooLong(ValueError):
    """A dialogue that is longer than the model's window."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a model is loaded."""

    rank: int = 16
    """Of the LoRA matrices, on all linear layers but the head."""
    alpha: int = 32
    four_bit: bool = False
    """Of the base's weights; takes a GPU."""
    loader: Literal["auto", "unsloth", "peft"] = "auto"
    """`auto`: Unsloth where there is a GPU."""
    window: int = 8_192
    """Tokens of a dialogue, at most; a model with less has less."""
    recompute: bool = False
    """Whether activations are computed again for the gradient rather than kept: a third slower, a fraction of the memory."""
    seed: int = 0
    """Of a new adapter's weights."""


@dataclass(frozen=True)
class Rendered:
    """A dialogue as the model sees it."""

    ids: tuple[int, ...]
    turns: tuple[int, ...]
    """For each token the number of the agent's turn that it is of, from 0; NO_TURN for tokens that are not the agent's. A turn
    ends with its end-of-turn token, which the agent says too."""

    @property
    def agent_tokens(self) -> int:
        return sum(turn != NO_TURN for turn in self.turns)


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

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's weights."""
        return [p for p in self.model.parameters() if p.requires_grad]

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

    def render(self, messages: Sequence[Message], only: int | None = None) -> Rendered:
        """Tokens of a dialogue, and which are the agent's; `only` one of its turns, if given. Raises PolicyFailed, TooLong.

        Each of the agent's turns is found from the template itself: what it adds to the text before it that asks for a reply.
        """
        whole = self._text(messages, False)
        spans, number = [], 0
        for n, message in enumerate(messages):
            if message["role"] == "assistant":
                before, after = self._text(messages[:n], True), self._text(messages[: n + 1], False)
                if not (after.startswith(before) and whole.startswith(after)):
                    raise PolicyFailed(
                        f"The chat template of {self.base} changes earlier turns when later ones follow, so that the agent's "
                        "tokens cannot be told: use a template that only appends."
                    )
                if only is None or number == only:
                    spans.append((len(before), len(after), number))
                number += 1
        coded = self.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        ids, turns = coded["input_ids"], [NO_TURN] * len(coded["input_ids"])
        ends = self.ends()
        for begin, end, turn in spans:
            for n, (left, right) in enumerate(coded["offset_mapping"]):
                if begin <= left < end and right > left:
                    turns[n] = turn
                    if ids[n] in ends:
                        break  # what a template writes after it, nobody says
        return Rendered(tuple(self._fitting(ids)), tuple(turns))

    def collate(self, rows: Sequence[Rendered]) -> "Batch":
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


@dataclass(frozen=True)
class Batch:
    """Padded rows, [rows, length] each."""

    ids: torch.Tensor
    seen: torch.Tensor
    """1 where there is a token, 0 for padding."""
    positions: torch.Tensor
    turns: torch.Tensor
    """Number of the agent's turn, NO_TURN elsewhere."""


def collate(
    rows: Sequence[Rendered], pad: int, device: torch.device, side: Literal["left", "right"] = "right"
) -> Batch:
    """Rows of one length: what is padded has no position, no turn, and is not attended to."""
    length = max(len(row.ids) for row in rows)

    def padded(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        made = [
            [*v, *[fill] * (length - len(v))] if side == "right" else [*[fill] * (length - len(v)), *v] for v in values
        ]
        return torch.tensor(made, device=device)

    seen = padded([[1] * len(row.ids) for row in rows], 0)
    return Batch(
        ids=padded([row.ids for row in rows], pad),
        seen=seen,
        positions=(seen.cumsum(1) - 1).clamp(min=0),
        turns=padded([row.turns for row in rows], NO_TURN),
    )


def token_log_probs(model: Any, batch: Batch) -> torch.Tensor:
    """log π(token | all before it), [rows, length - 1], of the tokens from the second on."""
    from trl.trainer.utils import selective_log_softmax

    out = model(input_ids=batch.ids, attention_mask=batch.seen, position_ids=batch.positions, use_cache=False)
    found: torch.Tensor = selective_log_softmax(out.logits[:, :-1].float(), batch.ids[:, 1:])
    return found


def turn_sums(values: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of token values over each of the agent's turns, and how many tokens each has: two tensors of [rows, turns].

    `values` and `turns` are [rows, length]; a row with fewer turns has 0 tokens in the others.
    """
    most = int(turns.max()) + 1
    if most < 1:
        raise ValueError("No token of these rows is the agent's.")
    at = torch.where(turns == NO_TURN, most, turns)
    sums = values.new_zeros(len(values), most + 1).scatter_add(1, at, values)
    counts = values.new_zeros(len(values), most + 1).scatter_add(1, at, torch.ones_like(values))
    return sums[:, :most], counts[:, :most]


def load_policy(
    base: str | Path, adapter: Path | None = None, loading: Loading | None = None, merged: bool = False
) -> Policy:
    """A model with a new adapter, which changes nothing yet, or with a saved one. Raises PolicyFailed.

    `merged`: only to sample from; the adapter becomes a part of the weights, which is a third faster, unless they have 4 bits.
    Transformers loads it then, since Unsloth's models do not take a cache that rows leave.
    """
    loading = loading or Loading()
    torch.manual_seed(loading.seed)
    gpu = torch.cuda.is_available()
    unsloth = not merged and (loading.loader == "unsloth" or (loading.loader == "auto" and gpu))
    if loading.four_bit and not gpu:
        raise PolicyFailed("four_bit takes a GPU, and there is none: leave it out.")
    name = str(base)
    if (
        os.sep in name
        and not Path(name).exists()
        and (name.startswith((".", os.sep, "runs")) or name.count(os.sep) > 1)
    ):
        raise PolicyFailed(f"There is no model folder {name}: give the folder of a model, or its name on the hub.")
    try:
        opened = _open_unsloth(name, loading) if unsloth else _open_peft(name, loading)
    except (OSError, ValueError) as error:
        raise PolicyFailed(f"The model {name} cannot be loaded: {str(error).strip().splitlines()[0]:.300}") from error
    model, tokenizer = opened
    if tokenizer.chat_template is None:
        raise PolicyFailed(
            f"The tokenizer of {name} has no chat template: use an instruct model, or set tokenizer.chat_template and save it."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if adapter is not None:
        _load_adapter(model, Path(adapter))
    if merged and not loading.four_bit:
        model = model.merge_and_unload()
    model.eval()
    window = min(loading.window, getattr(model.config, "max_position_embeddings", loading.window))
    return Policy(model, tokenizer, name, window, "unsloth" if unsloth else "peft")


def _open_peft(name: str, loading: Loading) -> tuple[Any, Any]:
    import transformers
    from accelerate import PartialState
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    place = {"": PartialState().device} if gpu else None
    transformers.utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(name)
    base = AutoModelForCausalLM.from_pretrained(
        name, dtype=torch.bfloat16 if gpu else torch.float32, device_map=place,
        quantization_config=BitsAndBytesConfig(load_in_4bit=True) if loading.four_bit else None,
    )  # fmt: skip
    config = LoraConfig(
        r=loading.rank, lora_alpha=loading.alpha, lora_dropout=0.0, bias="none", target_modules=list(LAYERS),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    if loading.recompute:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return get_peft_model(base, config), tokenizer


LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _open_unsloth(name: str, loading: Loading) -> tuple[Any, Any]:
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path.home() / ".cache" / "unsloth_compiled"))
    try:
        from unsloth import FastLanguageModel
    except ImportError as error:
        raise PolicyFailed(
            "On a GPU models are loaded with Unsloth, which is not installed: pip install 'unsloth>=2026.10', "
            "or set loader to peft."
        ) from error
    gpu = torch.cuda.is_available()
    base, tokenizer = FastLanguageModel.from_pretrained(
        name, max_seq_length=loading.window, load_in_4bit=loading.four_bit,
        dtype=torch.bfloat16 if gpu else torch.float32, local_files_only=Path(name).exists(),
    )  # fmt: skip
    model = FastLanguageModel.get_peft_model(
        base, r=loading.rank, lora_alpha=loading.alpha, lora_dropout=0.0, bias="none", target_modules=list(LAYERS),
        use_gradient_checkpointing="unsloth" if loading.recompute else False, random_state=loading.seed,
    )  # fmt: skip
    tokenizer.padding_side = (
        "right"  # in training its attention is causal alone, and would see what is padded at the left
    )
    return model, tokenizer


def _load_adapter(model: Any, folder: Path) -> None:
    """Raises PolicyFailed."""
    from peft import load_peft_weights, set_peft_model_state_dict

    try:
        weights = load_peft_weights(str(folder), device="cpu")
    except (OSError, ValueError) as error:
        raise PolicyFailed(f"There is no adapter in {folder}: {str(error).splitlines()[0]:.200}") from error
    try:
        loaded = set_peft_model_state_dict(model, weights)
    except RuntimeError as error:  # matrices of other shapes
        raise PolicyFailed(
            f"The adapter in {folder} is of another model, or of another rank: {error!s:.200}"
        ) from error
    lost = [name for name in loaded.missing_keys if "lora_" in name]
    if lost:
        raise PolicyFailed(f"The adapter in {folder} is of another model: it has nothing for {lost[0]}.")
    if loaded.unexpected_keys:
        raise PolicyFailed(
            f"The adapter in {folder} is of another model: {loaded.unexpected_keys[0]} is not in this one."
        )
