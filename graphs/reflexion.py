"""Reflexion as a state machine: try, evaluate, put into words what went wrong, try again (Shinn et al. 2023).

    START → recall_lessons → attempt → evaluate ─┬→ END        stop: solved | budget
                                ↑                └→ reflect ─┐
                                └────────────────────────────┘

Lessons live in Qdrant and come back for similar tasks; it needs the store of open_runtime(). Pause
with `runtime.stream(…, pause_after=["reflect"])`, change a lesson in `trials` with `runtime.edit`, and resume with
`runtime.run("reflexion", thread, None, context)`.
"""

from langgraph.graph import END, START, StateGraph

from graphs import react
from nodes.context import TaskInput
from nodes.reflexion.attempt import attempt_with
from nodes.reflexion.evaluate import after_evaluation, evaluate
from nodes.reflexion.recall_lessons import recall_lessons
from nodes.reflexion.reflect import reflect
from nodes.reflexion.state import Context, State

__all__ = ["Context", "State", "builder", "graph"]

builder = StateGraph(State, context_schema=Context, input_schema=TaskInput)
builder.add_node("recall_lessons", recall_lessons)
builder.add_node("attempt", attempt_with(react.graph))
builder.add_node("evaluate", evaluate)
builder.add_node("reflect", reflect)
builder.add_edge(START, "recall_lessons")
builder.add_edge("recall_lessons", "attempt")
builder.add_edge("attempt", "evaluate")
builder.add_conditional_edges("evaluate", after_evaluation, ["reflect", END])
builder.add_edge("reflect", "attempt")

graph = builder.compile(name="reflexion")
