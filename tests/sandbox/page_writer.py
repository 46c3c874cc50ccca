"""Someone who builds a page of our own from what is written and told alone, in a style sheet of their own: no code is shared."""

import re
from html import escape

SHADES = {
    "red": {100: "#fee2e2", 300: "#fca5a5", 500: "#ef4444", 600: "#dc2626", 800: "#991b1b", 900: "#7f1d1d"},
    "green": {100: "#d1fae5", 300: "#6ee7b7", 500: "#10b981", 600: "#059669", 800: "#065f46", 900: "#064e3b"},
    "blue": {100: "#dbeafe", 300: "#93c5fd", 500: "#3b82f6", 600: "#2563eb", 800: "#1e40af", 900: "#1e3a8a"},
    "indigo": {100: "#e0e7ff", 300: "#a5b4fc", 500: "#6366f1", 600: "#4f46e5", 800: "#3730a3", 900: "#312e81"},
    "purple": {100: "#ede9fe", 300: "#c4b5fd", 500: "#8b5cf6", 600: "#7c3aed", 800: "#5b21b6", 900: "#4c1d95"},
    "pink": {100: "#fce7f3", 300: "#f9a8d4", 500: "#ec4899", 600: "#db2777", 800: "#9d174d", 900: "#831843"},
    "yellow": {100: "#fef3c7", 300: "#fcd34d", 500: "#f59e0b", 600: "#d97706", 800: "#92400e", 900: "#78350f"},
    "gray": {100: "#f3f4f6", 200: "#e5e7eb", 300: "#d1d5db", 400: "#9ca3af", 500: "#6b7280", 600: "#4b5563", 700: "#374151",
             800: "#1f2937", 900: "#111827"},
}  # fmt: skip
"""Tailwind's published palette."""
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def write_page(told: str) -> str:
    """The page that is described; `told` is the description and what the person said."""

    def find(pattern: str) -> str:
        found = re.search(pattern, told)
        assert found, pattern
        return found[1]

    colour = SHADES[find(r"bar at the top and the button (?:are )?(\w+)")]
    bar = int(find(r"bar at the top (?:is|has).*?shade,? (\d+)"))
    bar_text = "white" if bar in (500, 800) else colour[900]
    size, line = find(r"headline (?:that )?is [^.]*?(\d+ pixels in a line of \d+)").split(" pixels in a line of ")
    columns = NUMBERS[find(r"(?:stand|cards) in (\w+) columns?")]
    cards = re.findall(
        r"([A-Z][\w ]+?) \((.+?)\)", find(r"(?:The cards|They) are: (.*?\.\))(?: [A-Z][^()]*)?(?:$|\n| The)")
    )
    placed = find(r"headline (?:stands )?(in the centre|on the right|on the left)")
    side = {"in the centre": "center", "on the right": "right", "on the left": "left"}[placed]
    inset = 256 if "256 pixels further in" in told else 0
    picture = ""
    if sizes := re.search(r"picture[^.]*?, (\d+) by (\d+) pixels", told):
        width, height = sizes.groups()
        place = {"1280": "", "320": "margin:32px", "480": "margin:32px auto"}[width]
        picture = f'<img style="display:block;{place}" src="https://picsum.photos/{width}/{height}">'
    looks = {
        "round corners of 8": "border-radius:8px;box-shadow:0 10px 15px -3px rgba(0,0,0,.1),0 4px 6px -2px rgba(0,0,0,.05)",
        "a frame of 2": f"border:2px solid {SHADES['gray'][400]}",
        "filled with shade 100": f"background:{colour[100]}",
        "gray of shade 200": f"border-radius:12px;background:{SHADES['gray'][200]}",
    }
    card = next(style for words, style in looks.items() if words in told)
    feet = {
        "footer,? (it )?is dark": f"background:{SHADES['gray'][900]};color:white;padding:32px",
        "footer,? (it )?is light": f"background:{SHADES['gray'][100]};color:{SHADES['gray'][700]};padding:32px",
        "colour of the button": f"background:{colour[600]};color:white;padding:16px",
        "footer,? (it )?is white": f"border-top:4px solid {colour[600]};padding:16px",
    }
    foot = next(style for words, style in feet.items() if re.search(words, told))
    name, footer = find(r"bar's name, (.*?), is bold"), find(r"footer says: (.*?, Market Square 1)")
    written = "".join(
        f'<section><b class="title">{escape(title)}</b><div>{escape(text)}</div></section>' for title, text in cards
    )
    headline, button = escape(find(r'headline (?:to )?says? "(.*?)"')), escape(find(r'button (?:that )?says "(.*?)"'))
    return f"""<!doctype html><html><head><style>
* {{ box-sizing: border-box; margin: 0 }}
body {{ font: 16px/24px system-ui; color: black; background: white }}
nav {{ background: {colour[bar]}; color: {bar_text}; padding: 24px; font: bold 24px/32px system-ui }}
.headline {{ font: bold {size}px/{line}px system-ui; text-align: {side}; margin: 32px; padding-left: {inset}px }}
main {{ display: grid; grid-template-columns: repeat({columns}, minmax(0, 1fr)); gap: 24px; margin: 32px }}
section {{ padding: 24px; {card} }}
.title {{ display: block; font-size: 20px; line-height: 28px; margin-bottom: 8px }}
button {{ border: 0; border-radius: 4px; background: {colour[600]}; color: white; font: inherit }}
button {{ padding: 12px 24px; display: block; margin: 32px }}
</style></head><body><nav>{escape(name)}</nav>{picture}<div class="headline">{headline}</div>
<main>{written}</main><button>{button}</button>
<footer style="{foot}">{escape(footer)}</footer></body></html>"""
