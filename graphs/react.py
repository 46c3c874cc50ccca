"""ReAct as a state machine: thoughts, calls of tools and observations until there is an answer (Yao et al. 2023).

    START → begin → think → permit ─┬→ act → END        stop: answered | step_limit | time_limit | loop | error
                      ↑       ask ←─┴→ ↑ │
                      └──────────────────┘              think → END: the answer

`graph.invoke({"task": …}, context=Context(…))["answer"]`; `search` and `lookup` need the store of open_runtime().
"""

from langgraph.graph import END, START, StateGraph

from nodes.context import TaskInput
from nodes.react.act import act, after_act
from nodes.react.begin import begin
from nodes.react.permit import after_permit, ask, permit
from nodes.react.state import Context, State
from nodes.react.think import after_think, think

__all__ = ["Context", "State", "builder", "graph"]

builder = StateGraph(State, context_schema=Context, input_schema=TaskInput)
builder.add_node("begin", begin)
builder.add_node("think", think)
builder.add_node("permit", permit)
builder.add_node("ask", ask)
builder.add_node("act", act)
builder.add_edge(START, "begin")
builder.add_edge("begin", "think")
builder.add_conditional_edges("think", after_think, ["permit", END])
builder.add_conditional_edges("permit", after_permit, ["ask", "act"])
builder.add_edge("ask", "act")
builder.add_conditional_edges("act", after_act, ["think", END])

graph = builder.compile(name="react")
