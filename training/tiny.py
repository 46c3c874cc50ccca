"""Makes the small start policy of the demonstration: a Llama of 1.2 million parameters and its tokenizer, from scratch.

    python -m training stage runs/demo seed-0/tiny

First it reads programs whose request leaves almost nothing open: so it learns to write what it was told. Then it reads dialogues of
mixed quality about our own backend tasks: agents that ask what is open, ask in vain, ask twice, answer too early. So it knows the
language of these tasks, as a large model knows that of programs, and answers some of them. What it does not know is how to
collaborate: that is what the other stages teach. In a part of the dialogues the system message shows the program, and the agent
acts as one who has read it, so that the critic can read one there.

It reads of the first families alone, in the phrasings that are not held out, and no program that behaves like one of a task
that the policies are trained or measured on.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import torch

from tasks.answers import MARKER
from tasks.colbench import Task
from tasks.decisions import Decision, Family, Option, OwnSplit, phrasings
from tasks.dialogue import Message, Turn, prompt_of
from tasks.families import FAMILIES
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task
from tasks.own_backend import HeldOut, task_with
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
    rng: random.Random, difficulties: Sequence[int], max_turns: int, habits: Habits, held_out: HeldOut
) -> list[Message]:
    """One dialogue as chat messages, about a program with the options of either split that is not held out: a base model has read
    of all that there is, and not what it is asked later.
    """
    family = rng.choice(FAMILIES[:FAMILIES_KNOWN])
    split: OwnSplit = rng.choice(("train", "test"))
    truth = _drawn(rng, family, {}, split, held_out)
    hidden = rng.sample(family.decisions, rng.choice(difficulties))
    calls = (f"{family.function}()",)
    task = task_with(f"corpus/{rng.randrange(10**9)}", family, truth, hidden, split, rng, calls)
    sees_program = rng.random() < habits.shown
    turns = _talk(rng, task, family, hidden, truth, split, max_turns, READER if sees_program else habits, held_out)
    prompt = prompt_of(ENVIRONMENTS["backend"].instructions, task.description, "", turns[:-1], max_turns)
    if sees_program:
        prompt = hidden_information(prompt, task)
    return [*prompt, {"role": "assistant", "content": turns[-1]["content"]}]


def _drawn(
    rng: random.Random, family: Family, told: Mapping[str, Option], split: OwnSplit, held_out: HeldOut
) -> dict[str, Option]:
    """Options of a program that is not held out: what was told, and the rest at random."""
    while True:
        options = {d.key: told.get(d.key) or rng.choice(d.of_split(split)) for d in family.decisions}
        if len(told) == len(options) or not held_out.hold(family.program(options), family.function):
            return options


def _talk(
    rng: random.Random, task: Task, family: Family, hidden: list[Decision], truth: dict[str, Option], split: OwnSplit,
    max_turns: int, habits: Habits, held_out: HeldOut,
) -> list[Turn]:  # fmt: skip
    turns: list[Turn] = []
    open_, asked = list(hidden), list[Decision]()

    def say(role: Literal["agent", "person"], content: str) -> None:
        turns.append(Turn(role=role, content=content, thought="", leak=""))

    while True:
        last = len(turns) // 2 + 1 == max_turns
        if last or rng.random() < (habits.early if open_ else habits.ready):
            told = {key: option for key, option in truth.items() if key not in [d.key for d in open_]}
            say(
                "agent", f"{MARKER}\n{family.program(_drawn(rng, family, told, split, held_out))}".strip()
            )  # as it is stored
            return turns
        if open_ and rng.random() < habits.useful:
            question = rng.choice(phrasings(rng.choice(open_).questions, split))
        else:
            vain = [d for d in family.decisions if d in asked or d not in hidden]
            question = rng.choice([rng.choice(FILLERS), *(rng.choice(phrasings(d.questions, split)) for d in vain)])
        answer = answer_from_facts(task, question, turns, PersonBehaviour(), 0)
        say("agent", question)
        say("person", answer)
        heard = [d for d in open_ if truth[d.key].told_in(answer)]
        asked += heard
        open_ = [d for d in open_ if d not in heard]


def corpus(
    seed: int, difficulties: Sequence[int], max_turns: int, habits: Habits, held_out: HeldOut
) -> Iterator[list[Message]]:
    """Dialogues without end, the same for a seed."""
    rng = random.Random(f"corpus {seed}")
    while True:
        yield make_dialogue(rng, difficulties, max_turns, habits, held_out)


def make_tokenizer(texts: Iterable[str], vocabulary: int, max_turns: int) -> Any:
    """A byte-level BPE whose pieces are words of a sentence or parts of a line of code, and numbers, so that they can be copied.

    The instructions, the same in every dialogue, are a single token.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), "merged_with_previous"),
            pre_tokenizers.Split(Regex(r"\d+|(?<=[.?!]) "), "isolated"),
            pre_tokenizers.Split(Regex(r"(?<=[A-Za-z,;:]) (?=[A-Za-z])"), "merged_with_next"),
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
    tiny: TinyConfig, difficulties: Sequence[int], max_turns: int, folder: Path, held_out: HeldOut
) -> list[dict[str, float]]:
    """Train the model and write it, with its tokenizer, into the folder; what was measured at each step."""
    from transformers import LlamaConfig, LlamaForCausalLM

    dialogues = corpus(tiny.seed, difficulties, max_turns, tiny.habits, held_out)
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
    brief = corpus(tiny.seed + 1, BRIEF_HIDDEN, max_turns, replace(BRIEF, shown=tiny.habits.shown), held_out)
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
    recipe, tiny = workspace.recipe, replace(workspace.recipe.tiny, seed=workspace.recipe.tiny.seed + job.seed)
    later = HeldOut(find_task(id, home()) for id in chain(recipe.train_of(job.seed), *recipe.test_sets().values()))
    history = make_tiny(tiny, recipe.train.difficulties, recipe.rollouts.max_turns, part, later)
    write_rows(part / "history.jsonl", history)


STAGE = Stage("tiny", make, needs=())
