"""What the stages are set to: the parts of a recipe. Plain data, which needs no torch."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid")

FAMILIES_KNOWN = 3
"""The first families: a model this small, trained for minutes, learns to write a few of them well rather than all of them badly."""


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """How a model is loaded."""

    __pydantic_config__ = STRICT

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


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a stage is trained; the defaults are the paper's (table 5) and its code's, but for what LoRA needs."""

    __pydantic_config__ = STRICT

    lr: float = 2e-4
    """Peak; the paper's 2e-7 is of full fine-tuning."""
    epochs: int = 4
    batch: int = 8
    """Rows of one step."""
    micro_batch: int = 8
    """Rows that are in memory at once."""
    warmup: float = 0.03
    """Share of the steps."""
    min_lr_ratio: float = 0.1
    """Share of lr that the cosine ends at."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    decay: float = 0.0
    seed: int = 0
    shuffle: bool = True
    """Whether each epoch has an order of its own; not so for a curriculum."""
    save_every: int = 50
    """Steps between checkpoints."""


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig:
    """How a policy is trained on pairs; the paper's values (table 5), but for the learning rate."""

    __pydantic_config__ = STRICT

    beta: float = 0.1
    nll: float = 0.01
    """Weight of the negative log-likelihood of what was chosen."""
    fitting: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How dialogues are held."""

    __pydantic_config__ = STRICT

    person: Literal["rules", "model"] = "rules"
    """Who is talked to: see nodes.collaborate.state.Context. Tasks without facts, such as public ColBench's, need a model."""
    person_model: str = ""
    """As `openai:NAME` or what else settings take."""
    max_turns: int = 10
    temperature: float = 1.0
    most: int = 1024
    """Tokens of a reply."""
    group: int = 128
    """Dialogues in lockstep."""
    rows: int = 128
    """Prompts in memory at once."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """What the actor learns from (paper, section 4.2 and appendix)."""

    __pydantic_config__ = STRICT

    share: float = 0.5
    """Of the replies that SWEET-RL may generate: so many are candidates, and the rest those of dialogues."""
    samples: int = 16
    """Candidates at a turn."""
    draws: int = 4
    """Pairs of a turn."""
    margin: float = 0.3
    """Least difference in advantage between replies of one kind, in standard deviations of the turn's candidates: critics of
    different forms have different scales."""
    micro_batch: int = 8
    """Candidates that the critic reads at once."""


@dataclass(frozen=True, kw_only=True)
class CriticForm:
    """Which critic it is; each field names what departs from the paper, and where."""

    hidden: bool = True
    """Whether it sees the reference."""
    normalise: Literal["turn", "none", "dialogue"] = "turn"
    """Mean over each turn's tokens; sum; or, as in the published code, the mean over all the agent's tokens of the dialogue."""
    reference_sees: bool = False
    """Whether the reference policy sees it too when candidates are scored, as in the paper's text."""
    head: Literal["log_ratio", "regression"] = "log_ratio"
    trained: bool = True
    """If not, the start policy itself is the critic: what it reads in c is all that it knows."""


WHOLE_FORMS = {
    "published": CriticForm(reference_sees=True),
    "released": CriticForm(normalise="dialogue"),
    "house": CriticForm(),
}
"""`published` is the paper's text, `released` its authors' code; how `house` departs is in README, "Where this departs"."""
WITHOUT: dict[str, dict[str, Any]] = {
    "untrained": {"trained": False},
    "no_hidden_information": {"hidden": False},
    "no_length_normalisation": {"normalise": "none"},
}
FORMS = {
    **WHOLE_FORMS,
    "house_regression_head": CriticForm(head="regression"),
    **{
        f"{name}_{what}": replace(form, **change)
        for name, form in WHOLE_FORMS.items()
        for what, change in WITHOUT.items()
    },
}

Method = Literal["zero_shot", "rft", "mtdpo", "sweet"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: a method, and which form of it."""

    label: str
    method: Method
    form: str = "house"
    """Of the critic: a key of FORMS."""
    published_pairs: bool = False
    """Whether the actor has the paper's pairing rule and weights, instead of the recipe's."""
    likelihood: bool = False
    """Whether multi-turn DPO also makes what was chosen likelier (MAGNET: Yin et al. 2025)."""
    masked: bool = False
    """Whether turns that drew out nothing stay in the context and leave the loss of fine-tuning (STeP, 2025)."""


ROWS = {
    "zero_shot": Row(label="zero-shot", method="zero_shot"),
    "rft": Row(label="rejection fine-tuning", method="rft"),
    "rft_masked": Row(label="rejection fine-tuning, partial masking", method="rft", masked=True),
    "mtdpo": Row(label="multi-turn DPO", method="mtdpo"),
    "magnet": Row(label="MAGNET (multi-turn DPO with likelihood)", method="mtdpo", likelihood=True),
    **{
        f"sweet_{form}": Row(
            label=f"SWEET-RL, {form.replace('_', ' ')}",
            method="sweet",
            form=form,
            published_pairs=not form.startswith("house"),
        )
        for form in FORMS
    },
}
"""An untrained critic is the start policy's own reading of what is hidden: privileged self-distillation."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How the agents of the corpus behave, at every turn anew: which turn of a dialogue was good is for training to find out."""

    __pydantic_config__ = STRICT

    useful: float = 0.5
    """How often a question is about something open."""
    early: float = 0.03
    """How often it answers while something is open."""
    ready: float = 0.5
    """How often it answers when nothing is open."""
    shown: float = 0.25
    """Share of the dialogues whose system message shows the program."""


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """The start policy of the demonstration, and how it is made."""

    __pydantic_config__ = STRICT

    width: int = 192
    layers: int = 2
    vocabulary: int = 4_000
    window: int = 1_024
    steps: int = 1_400
    """The first third of brief dialogues, two for one."""
    batch: int = 16
    """Dialogues of a step."""
    lr: float = 3e-3
    """Of AdamW, for embeddings and norms."""
    matrix_lr: float = 6e-3
    """Of Muon, for the matrices (Jordan et al. 2024): a third of the steps that AdamW takes here."""
    seed: int = 0
    habits: Habits = field(default_factory=Habits)
