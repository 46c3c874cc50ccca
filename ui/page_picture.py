"""Pictures of rendered pages: one beside another with a divider, and what differs between them marked."""

import numpy as np
import streamlit as st

from sandbox.html import Pixels, RenderedPage, encode, render_html

DIFFERENT = 24  # of 255
MARK = (214, 51, 132)


@st.cache_data(max_entries=64, show_spinner="Drawing the page…")
def drawn(html: str) -> RenderedPage:
    """The page as it looks; kept, since a script run draws it again. Raises RenderUnavailable and CdnMissing."""
    return render_html(html)


def divided(before: RenderedPage, after: RenderedPage, share: int) -> bytes:
    """The one page left of `share` percent of the width, the other right of it, as PNG."""
    left, right = _same_height(before.pixels, after.pixels)
    at = left.shape[1] * share // 100
    whole = np.concatenate([left[:, :at], right[:, at:]], axis=1)
    whole[:, max(0, at - 1) : at + 1] = MARK
    return encode(whole)


def differences(before: RenderedPage, after: RenderedPage) -> tuple[bytes, float]:
    """The second page, pale, with what differs from the first marked, as PNG; and the share of pixels that do."""
    left, right = _same_height(before.pixels, after.pixels)
    other = np.abs(left.astype(np.int16) - right).max(axis=2) > DIFFERENT
    pale = (right.astype(np.uint16) + 3 * 255) // 4
    pale[other] = MARK
    return encode(pale.astype(np.uint8)), float(other.mean())


def _same_height(*pictures: Pixels) -> list[Pixels]:
    height = max(len(p) for p in pictures)
    return [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), constant_values=255) for p in pictures]
