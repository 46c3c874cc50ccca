"""Makes the small start policy of the demonstration: a Llama of 1.2 million parameters and its tokenizer, from scratch.

    python -m training stage runs/demo tiny

First it reads programs whose request leaves almost nothing open: so it learns to write what it was told. Then it reads dialogues of
mixed quality about our own backend tasks: agents that ask what is open, ask in vain, ask twice, answer too early. So it knows the
language of these tasks, as a large model knows that of programs, and answers some of them. What it does not know is how to
collaborate: that is what the other stages teach. In a part of the dialogues the system message shows the program, and the agent
acts as one who has read it, so that the critic can read one there.
"""

import random
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from tasks.answers import MARKER
from tasks.colbench import Fact, Task
from tasks.decisions import Decision, Family, Option
from tasks.dialogue import Message, Turn, prompt_of, said_by
from tasks.families import FAMILIES
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task
from tasks.person import PersonBehaviour, answer_from_facts
from training.batch import NO_TURN, Rendered, collate
from training.config import FAMILIES_KNOWN, Habits, TinyConfig, TrainConfig
from training.fit import fit
from training.home import home
from training.messages import HIDDEN, hidden_information
from training.muon import Muon
from training.stage import Job, Stage, Workspace, write_rows

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
FILLERS = ("Is that right so far?", "I am thinking about it.", "Let me see.")
READER = Habits(useful=0.95, early=0.0, ready=0.9)
"""Of an agent to whom the program is shown."""
BRIEF = Habits(useful=0.9, early=0.0, ready=1.0)
BRIEF_HIDDEN = (0, 0, 1)
"""Of the dialogues that are read first, and how many decisions they leave open."""


def make_dialogue(
    rng: random.Random, difficulties: Sequence[int], max_turns: int, habits: Habits, avoid: Set[str] = frozenset()
) -> list[Message]:
    """One dialogue as chat messages, about a program of either split that is not in `avoid`: a base model has read of all that
    there is, and not what it is asked later.
    """
    while True:
        family = rng.choice(FAMILIES[:FAMILIES_KNOWN])
        split: Literal["train", "test"] = rng.choice(("train", "test"))
        truth = {d.key: rng.choice(d.of_split(split)) for d in family.decisions}
        if family.program(truth) not in avoid:
            break
    hidden = rng.sample(family.decisions, rng.choice(difficulties))
    stated = [truth[d.key].statement for d in family.decisions if d not in hidden]
    task = Task(
        task_id=f"corpus/{rng.randrange(10**9)}",
        kind="backend",
        description=" ".join([family.wish, *stated, f"The signature of the function is: {family.signature}"]),
        ground_truth=family.program(truth),
        calls=(f"{family.function}()",),
        facts=tuple(Fact(d.key, truth[d.key].value, truth[d.key].statement, d.keywords) for d in hidden),
    )
    sees_program = rng.random() < habits.shown
    turns = _talk(rng, task, family, hidden, truth, split, max_turns, READER if sees_program else habits)
    prompt = prompt_of(ENVIRONMENTS["backend"].instructions, task.description, "", turns[:-1], max_turns)
    if sees_program:
        prompt = hidden_information(prompt, task)
    return [*prompt, {"role": "assistant", "content": turns[-1]["content"]}]


def _talk(
    rng: random.Random, task: Task, family: Family, hidden: list[Decision], truth: dict[str, Option], split: str,
    max_turns: int, habits: Habits,
) -> list[Turn]:  # fmt: skip
    turns: list[Turn] = []
    open_, asked = list(hidden), list[Decision]()

    def say(role: Literal["agent", "person"], content: str) -> None:
        turns.append(Turn(role=role, content=content, thought="", leak=""))

    while True:
        last = len(turns) // 2 + 1 == max_turns
        if last or rng.random() < (habits.early if open_ else habits.ready):
            say("agent", _answer(rng, family, truth, open_, split))
            return turns
        if open_ and rng.random() < habits.useful:
            decision = rng.choice(open_)
            say("agent", decision.question)
        else:
            vain = [d.question for d in (*asked, *(d for d in family.decisions if d not in hidden))]
            say("agent", rng.choice([*vain, rng.choice(FILLERS)]))
        replies = said_by("person", turns)
        say("person", answer_from_facts(task, turns[-1]["content"], replies, PersonBehaviour(), 0))
        heard = [d for d in open_ if truth[d.key].statement in turns[-1]["content"]]
        asked += heard
        open_ = [d for d in open_ if d not in heard]


def _answer(rng: random.Random, family: Family, truth: dict[str, Option], open_: list[Decision], split: str) -> str:
    """A program: what was told as it was told; what was not is guessed."""
    options = {d.key: rng.choice(d.of_split(split)) if d in open_ else truth[d.key] for d in family.decisions}
    return f"{MARKER}\n{family.program(options)}".strip()  # as a stored turn has it


def corpus(
    seed: int, difficulties: Sequence[int], max_turns: int, habits: Habits, avoid: Set[str] = frozenset()
) -> Iterator[list[Message]]:
    """Dialogues without end, the same for a seed."""
    rng = random.Random(f"corpus {seed}")
    while True:
        yield make_dialogue(rng, difficulties, max_turns, habits, avoid)


def make_tokenizer(texts: Iterable[str], vocabulary: int, max_turns: int) -> Any:
    """A byte-level BPE whose pieces may be whole sentences, and numbers are, so that they can be copied.

    The instructions, the same in every dialogue, are a single token.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), "merged_with_previous"),
            pre_tokenizers.Split(Regex(r"\d+|(?<=[.?!]) "), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(ENVIRONMENTS["backend"].instructions.format(turns=max_turns), normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        additional_special_tokens=SPECIAL[2:],
        chat_template=TEMPLATE,
    )


READ_FOR_TOKENIZER = 4_000  # dialogues
SORTED = 8  # batches whose dialogues are put in order of their length: less padding


def make_tiny(
    tiny: TinyConfig, difficulties: Sequence[int], max_turns: int, folder: Path, avoid: Set[str] = frozenset()
) -> list[dict[str, float]]:
    """Train the model and write it, with its tokenizer, into the folder; what was measured at each step. It reads of no program
    in `avoid`, the tasks that it is to work on later.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    dialogues = corpus(tiny.seed, difficulties, max_turns, tiny.habits, avoid)
    read = list(islice(dialogues, READ_FOR_TOKENIZER))
    texts = (m["content"] for messages in read for m in messages[1:])
    tokenizer = make_tokenizer(texts, tiny.vocabulary, max_turns)
    torch.manual_seed(tiny.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=tiny.width, intermediate_size=tiny.width * 8 // 3,
        num_hidden_layers=tiny.layers, num_attention_heads=tiny.width // 16, max_position_embeddings=tiny.window,
        tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.AdamW(others, lr=tiny.lr, betas=(0.9, 0.95), weight_decay=0.0),
        Muon(matrices, lr=tiny.matrix_lr),
    ]
    brief = corpus(tiny.seed + 1, BRIEF_HIDDEN, max_turns, replace(BRIEF, shown=tiny.habits.shown), avoid)
    first, then = tiny.steps // 3, tiny.steps - tiny.steps // 3
    batches = [
        *_batches(tokenizer, islice(brief, first * tiny.batch * 2), tiny.batch * 2),
        *_batches(tokenizer, islice(dialogues, then * tiny.batch), tiny.batch),
    ]

    def loss(rows: Sequence[list[Rendered]]) -> tuple[torch.Tensor, dict[str, float]]:
        batch = collate(rows[0], tokenizer.pad_token_id, model.device)
        hidden = model.model(input_ids=batch.ids, attention_mask=batch.seen).last_hidden_state[:, :-1]
        said = batch.turns[:, 1:] != NO_TURN  # a third of the logits, which are most of the work
        return torch.nn.functional.cross_entropy(model.lm_head(hidden[said]), batch.ids[:, 1:][said]), {}

    schedule = TrainConfig(lr=tiny.lr, epochs=1, batch=1, micro_batch=1, warmup=0.05, min_lr_ratio=0.05, shuffle=False)
    history = fit(model, batches, loss, schedule, folder, "tiny", optimizers)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return history


def _batches(tokenizer: Any, dialogues: Iterator[list[Message]], size: int) -> list[list[Rendered]]:
    """Batches of dialogues of like length."""
    batches: list[list[Rendered]] = []
    rng = random.Random(size)
    while block := [_rendered(tokenizer, d) for d in islice(dialogues, size * SORTED)]:
        block.sort(key=lambda row: len(row.ids))
        batches += rng.sample(cut := [block[at : at + size] for at in range(0, len(block), size)], len(cut))
    return batches


def _rendered(tokenizer: Any, messages: list[Message]) -> Rendered:
    """A dialogue's tokens, marked where they are learnt from: the agent's, and where the program is shown the person's too, since
    they follow from it."""
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    starts = {tokenizer.convert_tokens_to_ids("<|assistant|>")}
    if HIDDEN in messages[0]["content"]:
        starts.add(tokenizer.convert_tokens_to_ids("<|user|>"))
    marks, said, number = [], False, 0
    for token in ids:
        marks.append(number if said and number else NO_TURN)
        if token in starts:
            said, number = True, number + 1
        elif token == tokenizer.eos_token_id:
            said = False
    return Rendered(tuple(ids), tuple(marks))


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The start policy of the demonstration."""
    recipe = workspace.recipe
    later = {find_task(id, home()).ground_truth for id in (*recipe.train.ids(), *recipe.held_out.ids())}
    history = make_tiny(recipe.tiny, recipe.train.difficulties, recipe.rollouts.max_turns, part, later)
    write_rows(part / "history.jsonl", history)


STAGE = Stage("tiny", make, needs=())
