"""One of a few, as buttons in a row: which view, which kind, which method."""

from collections.abc import Mapping
from typing import Literal, TypeVar

import streamlit as st

Key = TypeVar("Key", bound=str)


def choose(label: str, options: Mapping[Key, str], key: str, *, hide_label: bool = False) -> Key:
    """The one that is chosen, at first the first; `options` are the words for each."""
    if key not in st.session_state:
        st.session_state[key] = next(iter(options))
    visibility: Literal["visible", "collapsed"] = "collapsed" if hide_label else "visible"
    named = options.__getitem__
    chosen = st.segmented_control(
        label, list(options), format_func=named, key=key, required=True, label_visibility=visibility
    )
    return chosen or next(iter(options))
