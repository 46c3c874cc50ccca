"""The window as a picture: what fills it, how much is free, where it warns and flushes; and what was recalled."""

from html import escape

from nodes.memgpt.state import Context, Recalled, Tokens
from nodes.memgpt.window import Usage

PARTS = {
    "Instructions": "#5b6b8c", "Working context": "#c2772e", "Summary": "#7a4fa3", "Recalled": "#b0527a", "Queue": "#2f8f6b",
}  # fmt: skip
FREE = "rgba(128,128,128,0.18)"


def window_html(usage: Usage, context: Context, tokens: Tokens | None = None) -> str:
    """A bar of the window's parts to scale, with its two marks and a legend; `tokens`: of the last turn.

    Holds numbers only, no text from outside.
    """
    used = (usage.instructions, usage.working_context, usage.summary, usage.recalled, usage.queue)
    sizes = dict(zip(PARTS, used, strict=True))
    scale = max(usage.window, usage.used)
    bars = "".join(
        f'<div title="{name}: {n:,} tokens" style="width:{100 * n / scale:.2f}%;background:{PARTS[name]};'
        'transition:width .4s"></div>'
        for name, n in sizes.items()
    )
    marks = "".join(
        f'<div style="position:absolute;left:{100 * share * usage.window / scale:.2f}%;top:-5px;bottom:-5px;'
        f'border-left:2px {line} {colour}"></div>'
        f'<div style="position:absolute;left:{100 * share * usage.window / scale:.2f}%;top:-25px;'
        f'transform:translateX({shift});font-size:12px;white-space:nowrap">{escape(label)}</div>'
        for share, label, line, colour, shift in (
            (context.warn_at, f"warn {context.warn_at:.0%}", "dashed", "#d9822b", "-50%"),
            (context.flush_at, f"flush {context.flush_at:.0%}", "solid", "#c23030", "-100%"),
        )
    )
    legend = "".join(
        f'<span style="white-space:nowrap"><span style="display:inline-block;width:10px;height:10px;border-radius:2px;'
        f'background:{colour};margin-right:4px"></span>{name} {n:,}</span>'
        for name, n, colour in [*((k, sizes[k], PARTS[k]) for k in PARTS), ("Free", usage.free, FREE)]
    )
    label = ", ".join(f"{name} {n} tokens" for name, n in [*sizes.items(), ("free", usage.free)])
    return (
        f'<div role="img" aria-label="The window: {label}, of {usage.window} tokens" style="padding-top:26px">'
        f'<div style="position:relative"><div style="display:flex;height:22px;border-radius:5px;overflow:hidden;'
        f'background:{FREE}">{bars}</div>{marks}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:4px 14px;margin-top:9px;font-size:13px">{legend}'
        f'<span style="white-space:nowrap;margin-left:auto"><b>{usage.share:.0%}</b> of {usage.window:,} tokens</span></div>'
        f"{_taken(tokens)}</div>"
    )


def recalled_html(item: Recalled) -> str:
    """A quote with its day, whose words it is, and a bar of its score."""
    share = max(0.04, min(1.0, item["score"]))
    return (
        f'<div style="border-left:3px solid {PARTS["Recalled"]};padding-left:10px">'
        f'<div style="font-size:13px;opacity:0.75;display:flex;gap:10px;align-items:center">'
        f"<span>{escape(item['time'][:10])}{_until(item)} · {escape(_whose(item))}</span>"
        f'<span role="img" aria-label="score {item["score"]:.2f}" title="score {item["score"]:.2f}" '
        f'style="width:60px;height:6px;border-radius:3px;background:{FREE}">'
        f'<span style="display:block;height:6px;border-radius:3px;width:{100 * share:.0f}%;'
        f'background:{PARTS["Recalled"]}"></span></span></div>'
        f'<div style="white-space:pre-wrap;overflow-wrap:anywhere">{escape(item["text"])}</div></div>'
    )


def _until(item: Recalled) -> str:
    return f", held until {escape(item['until'][:10])}" if item.get("until") else ""


def _whose(item: Recalled) -> str:
    if item["storage"] == "archival":
        return item["source"] or "a note of the agent"
    return "you said" if item["speaker"] == "user" else "the agent said"


def _taken(tokens: Tokens | None) -> str:
    if not tokens or not tokens["read"]:
        return ""
    share = f", {tokens['cached'] / tokens['read']:.0%} of them from the server's cache" if tokens["cached"] else ""
    return (
        f'<div style="font-size:13px;opacity:0.75;margin-top:4px">The last turn read {tokens["read"]:,} tokens{share}, '
        f"and wrote {tokens['written']:,}.</div>"
    )
