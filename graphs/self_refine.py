"""Self-Refine as a state machine: draft, criticise, revise, until a draft is good enough (Madaan et al. 2023).

    START → draft → critique ⇄ revise        critique → END; stop: accepted | budget

Every draft is kept with its critique and score; the answer is the best, not the last. Pause after a step to edit
`drafts`: `graph.invoke(…, interrupt_after=["critique"])`, `update_state`, and `graph.invoke(None, …)`.
"""

from langgraph.graph import END, START, StateGraph

from graphs import react
from nodes.context import TaskInput
from nodes.self_refine.critique import after_critique, critique
from nodes.self_refine.draft import draft_with, revise_with
from nodes.self_refine.state import Context, State

__all__ = ["Context", "State", "builder", "graph"]

builder = StateGraph(State, context_schema=Context, input_schema=TaskInput)
builder.add_node("draft", draft_with(react.graph))
builder.add_node("critique", critique)
builder.add_node("revise", revise_with(react.graph))
builder.add_edge(START, "draft")
builder.add_edge("draft", "critique")
builder.add_conditional_edges("critique", after_critique, ["revise", END])
builder.add_edge("revise", "critique")

graph = builder.compile(name="self_refine")
