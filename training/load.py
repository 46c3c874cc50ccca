"""The one model loader: a base with a LoRA adapter. Unsloth loads it on a GPU, in bf16 or 4 bit; Transformers and PEFT elsewhere.

    policy = load_policy("runs/demo/tiny")   # a folder, or a name on the Hugging Face hub

The adapter's configuration and files are the same.
"""

import os
from pathlib import Path
from typing import Any

import torch

from training.config import LoadConfig
from training.policy import Policy, PolicyFailed


def load_policy(
    base: str | Path, adapter: Path | None = None, loading: LoadConfig | None = None, merged: bool = False
) -> Policy:
    """A model with a new adapter, which changes nothing yet, or with a saved one. Raises PolicyFailed.

    `merged`: only to sample from; the adapter becomes a part of the weights, which is a third faster, unless they have 4 bits.
    Transformers loads it then, since Unsloth's models do not take a cache that rows leave.
    """
    loading = loading or LoadConfig()
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


def _open_peft(name: str, loading: LoadConfig) -> tuple[Any, Any]:
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


def _open_unsloth(name: str, loading: LoadConfig) -> tuple[Any, Any]:
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
