"""How tables are set: columns' widths, formats and badges, and rows that stay selected while the order changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
import streamlit as st

from alerts.staleness import Verdict

from .events_view import LEVEL_LOOKS
from .theme import SIGNS, signed

ROW_HEIGHT = 34
cc = st.column_config

Columns = dict[str, Any]


def state_column(label: str = "State") -> Any:
    """Verdicts as badges: sign, word and colour."""
    return cc.MultiselectColumn(
        label, options=[signed(each) for each in Verdict], color=[SIGNS[each][1] for each in Verdict], width=112
    )


def level_column() -> Any:
    """Levels as badges."""
    return cc.MultiselectColumn("Level", options=list(LEVEL_LOOKS), color=list(LEVEL_LOOKS.values()), width=94)


def height_of(rows: int, most: int) -> int | Literal["content"]:
    """A table's height: its rows', or scrolling from `most` on."""
    return "content" if rows <= most else int((most + 1.5) * ROW_HEIGHT)


def table(frame: pd.DataFrame, columns: Columns, alt: str, *, most: int = 14) -> None:
    """A table to read."""
    st.dataframe(
        frame,
        column_config=columns,
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=height_of(len(frame), most),
        placeholder="",
        alt=alt,
    )


def pick(
    frame: pd.DataFrame, keys: Sequence[str], columns: Columns, alt: str, key: str, *, most: int = 14
) -> str | None:
    """A table to pick one row of; the key that is picked. It is the key that stays picked, not the position: should
    the order change, the selection moves with its row."""
    chosen: str | None = st.session_state.get(key)
    at = keys.index(chosen) if chosen in keys else None
    event: Any = st.dataframe(
        frame,
        column_config=columns,
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=height_of(len(frame), most),
        placeholder="",
        alt=alt,
        key=f"{key}-{hash(tuple(keys))}",
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [at] if at is not None else []}},
    )
    rows = event.selection.rows if event else []
    picked = keys[rows[0]] if rows and rows[0] < len(keys) else None
    st.session_state[key] = picked
    return picked
