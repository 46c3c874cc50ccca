"""Sampling from a policy in batches: a prompt that is there many times is read once, rows that have ended leave the batch, and the
same seed gives the same replies.
"""

from collections.abc import Sequence
from typing import Any

import torch

from training.policy import Policy


@torch.inference_mode()
def generate(
    policy: Policy, prompts: Sequence[Sequence[int]], *, most: int, temperature: float, seed: int
) -> list[list[int]]:
    """A reply to each prompt, as tokens, with its end-of-turn token unless `most` tokens were not enough.

    Temperature 0 takes the likeliest token. A reply ends where the window does; a prompt that fills it has an empty one.
    """
    from transformers import DynamicCache

    fitting = [n for n, p in enumerate(prompts) if len(p) < policy.window]
    if len(fitting) < len(prompts):
        found = (
            generate(policy, [prompts[n] for n in fitting], most=most, temperature=temperature, seed=seed)
            if fitting
            else []
        )
        of = dict(zip(fitting, found, strict=True))
        return [of.get(n, []) for n in range(len(prompts))]
    generator = torch.Generator(device=policy.device).manual_seed(seed)
    ends = torch.tensor(sorted(policy.ends()), device=policy.device)
    alone = {tuple(p): n for n, p in enumerate(dict.fromkeys(map(tuple, prompts)))}
    length = max(len(p) for p in alone)
    pad = policy.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (length - len(p)) + list(p) for p in alone], device=policy.device)
    seen = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in alone], device=policy.device)
    alive = list(range(len(prompts)))
    replies: list[list[int]] = [[] for _ in prompts]
    cache = DynamicCache()
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    room = [min(most, policy.window - len(p)) for p in prompts]
    for said in range(1, max(room) + 1):
        out = policy.model(
            input_ids=ids, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        cache, logits = out.past_key_values, out.logits[:, -1].float()
        if said == 1 and len(alone) < len(prompts):
            each = torch.tensor([alone[tuple(p)] for p in prompts], device=policy.device)
            cache.batch_select_indices(each)
            logits, seen, positions = logits[each], seen[each], positions[each]
        ids = _next(logits, temperature, generator)
        for row, token in zip(alive, ids[:, 0].tolist(), strict=True):
            replies[row].append(token)
        left = ~torch.isin(ids[:, 0], ends) & torch.tensor([room[row] > said for row in alive], device=ids.device)
        if not bool(left.any()):
            break
        positions = positions[:, -1:] + 1
        seen = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
        if not bool(left.all()):
            kept = left.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            ids, seen, positions = ids[kept], seen[kept], positions[kept]
            alive = [alive[n] for n in kept.tolist()]
    return replies


def _next(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> Any:
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    # By inverting the distribution: several times as fast as torch.multinomial, which for one draw a row does far more.
    heights = torch.softmax(logits / temperature, dim=-1).cumsum(dim=-1)
    drawn = torch.rand(len(logits), 1, generator=generator, device=logits.device) * heights[:, -1:]
    return torch.searchsorted(heights, drawn).clamp(max=logits.shape[-1] - 1)
