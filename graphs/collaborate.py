"""ColBench as a state machine: an agent and a person, real or simulated, work on one thing (Zhou et al. 2025, section 3).

    START → begin → propose ─┬→ reply → propose …      stop: answered | turn_limit
                             ├→ refine → score → END
                             └→ score → END

A real person is waited for with an interrupt: `graph.invoke(Command(resume="what they say"), …)`. The hidden reference is looked up
by the task's id in `reply` and `score` alone: no state, checkpoint or prompt of the agent ever holds it.
"""

from langgraph.graph import END, START, StateGraph

from graphs import reflexion
from nodes.collaborate.begin import begin
from nodes.collaborate.propose import after_proposal, propose
from nodes.collaborate.refine import refine_with
from nodes.collaborate.reply import reply
from nodes.collaborate.score import score
from nodes.collaborate.state import Context, Input, State

__all__ = ["Context", "Input", "State", "builder", "graph"]

builder = StateGraph(State, context_schema=Context, input_schema=Input)
builder.add_node("begin", begin)
builder.add_node("propose", propose)
builder.add_node("reply", reply)
builder.add_node("refine", refine_with(reflexion.graph))
builder.add_node("score", score)
builder.add_edge(START, "begin")
builder.add_edge("begin", "propose")
builder.add_conditional_edges("propose", after_proposal, ["reply", "refine", "score"])
builder.add_edge("reply", "propose")
builder.add_edge("refine", "score")
builder.add_edge("score", END)

graph = builder.compile(name="collaborate")
