"""MemGPT as a state machine: the model pages its own memory between a bounded window and Qdrant (Packer et al. 2024).

    START → receive → page ─┬→ think ─┬→ END
                      ↑↑    ├→ evict ─┘│           page → END: the agent has yielded, and has answered
                      ││    └→ (keep →) END
                      │└──── text ─────┤
                      └────── act ←────┘

`graph` is bare, for `langgraph dev`; runtime.open_runtime() gives it its checkpointer and store.
"""

from langgraph.graph import END, START, StateGraph

from graphs import react, reflexion, self_refine
from nodes.memgpt.act import act_with
from nodes.memgpt.event import login, system_alert, timed_event, user_message
from nodes.memgpt.evict import evict
from nodes.memgpt.keep import keep
from nodes.memgpt.page import after_page, page
from nodes.memgpt.receive import receive
from nodes.memgpt.state import Context, Input, State
from nodes.memgpt.think import after_think, think

__all__ = ["Context", "Input", "State", "builder", "graph", "login", "system_alert", "timed_event", "user_message"]

builder = StateGraph(State, context_schema=Context, input_schema=Input)
builder.add_node("receive", receive)
builder.add_node("page", page)
builder.add_node("evict", evict)
builder.add_node("think", think)
builder.add_node("keep", keep)
builder.add_node(
    "act", act_with({"react": react.graph, "self_refine": self_refine.graph, "reflexion": reflexion.graph})
)
builder.add_edge(START, "receive")
builder.add_edge("receive", "page")
builder.add_conditional_edges("page", after_page, ["think", "evict", "keep", END])
builder.add_edge("evict", "think")
builder.add_conditional_edges("think", after_think, ["act", "page", END])
builder.add_edge("act", "page")
builder.add_edge("keep", END)

graph = builder.compile(name="memgpt")
