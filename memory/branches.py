"""Branches of a conversation: which there are, which one is active, and what of the agent's memory each has written.

Each branch is a thread of its own. What an abandoned one has written is put aside: it stays in Qdrant, in a namespace that no
search looks into, and comes back whole when the person goes back to that branch. The agent's blocks are undone and redone by
their versions.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from qdrant_client import models

from memory.blocks import VERSION, ever_from_outside, load_blocks, replayed, save_blocks
from memory.conditions import Namespace
from memory.points import ASIDE, COLLECTION, moved
from memory.store import QdrantStore
from memory.stored import Stored, stored

RECORDS: Namespace = ("@branches",)
"""No agent can have this name."""


@dataclass(frozen=True)
class Branch:
    """One branch, by the name of its thread; the first one is the conversation itself."""

    thread: str
    parent: str = ""
    """The branch that it goes on from, up to `since`; empty for the first."""
    since: str = ""
    """Until then (ISO 8601, UTC) it has what its parent has."""
    begun: str = ""
    """When the person began it."""


@dataclass(frozen=True)
class Branches:
    """All branches of a conversation. It holds nothing of what was said."""

    agent: str
    conversation: str
    branches: tuple[Branch, ...]
    actives: tuple[tuple[str, str], ...]
    """(since when, thread) of each branch that was gone to, oldest first; first the conversation itself. No thread: from then on
    the conversation is left out of memory.
    """
    settled: bool = True
    """Whether the memory is that of the active branch; a crash in between leaves False."""

    @property
    def active(self) -> str:
        """The thread of the branch that is active now, or was when the conversation was left out of memory."""
        return next(thread for _, thread in reversed(self.actives) if thread)

    @property
    def is_left_out(self) -> bool:
        """Whether memory has nothing of the conversation now."""
        return not self.actives[-1][1]

    def active_at(self, moment: datetime) -> str:
        """The thread of the branch that was active then, or before the conversation was left out of memory."""
        return next(
            thread for since, thread in reversed(self.actives) if thread and (not since or _time(since) <= moment)
        )

    def remembered_at(self, moment: datetime) -> str:
        """The thread of the branch of which memory had everything then; empty while the conversation was left out."""
        return next(thread for since, thread in reversed(self.actives) if not since or _time(since) <= moment)

    def branch(self, thread: str) -> Branch:
        """The branch of that name. Raises ValueError."""
        found = next((branch for branch in self.branches if branch.thread == thread), None)
        if found is None:
            raise ValueError(f"The conversation {self.conversation} has no branch {thread!r}.")
        return found

    def knows(self, thread: str) -> bool:
        """Whether there is a branch of that name."""
        return any(branch.thread == thread for branch in self.branches)

    def has(self, active: str, thread: str, written: datetime) -> bool:
        """Whether a branch has what was written in a thread of the conversation at that time; no branch has nothing."""
        if not active:
            return False
        branch, until = self.branch(active), datetime.max.replace(tzinfo=UTC)
        while branch.thread != thread:
            if not branch.parent:
                return False
            branch, until = self.branch(branch.parent), min(until, _time(branch.since))
        return written <= until

    def lineage(self, thread: str) -> list[str]:
        """The threads of which a branch has something, itself first."""
        found = [self.branch(thread)]
        while found[-1].parent:
            found.append(self.branch(found[-1].parent))
        return [branch.thread for branch in found]


def branches_of(store: QdrantStore, conversation: str) -> Branches | None:
    """The branches of a conversation; None if it has never been branched."""
    item = store.get(RECORDS, conversation)
    if item is None:
        return None
    value = item.value
    return Branches(
        value["agent"], conversation, tuple(Branch(**row) for row in value["branches"]),
        tuple((since, thread) for since, thread in value["actives"]), value["settled"],
    )  # fmt: skip


def first(agent: str, conversation: str) -> Branches:
    """Those of a conversation that has not been branched yet."""
    return Branches(agent, conversation, (Branch(conversation),), (("", conversation),))


def grown(branches: Branches, parent: str, since: datetime) -> tuple[Branches, str]:
    """Those branches and a new one that has what its parent had up to `since`; and its thread."""
    thread = f"branch:{len(branches.branches) + 1}:{branches.conversation}"
    new = Branch(thread, parent, since.isoformat(), datetime.now(UTC).isoformat())
    return replace(branches, branches=(*branches.branches, new)), thread


def activate(branches: Branches, thread: str) -> Branches:
    """Those branches with that one active; without one, left out of memory. Raises ValueError if there is none such."""
    if thread:
        branches.branch(thread)
    return replace(branches, actives=(*branches.actives, (datetime.now(UTC).isoformat(), thread)), settled=False)


def unsettled(store: QdrantStore) -> list[Branches]:
    """Those of which a crash has cut a change short."""
    names = [item.key for item in store.all(RECORDS, {"settled": False})]
    return [found for name in names if (found := branches_of(store, name))]


def save(store: QdrantStore, branches: Branches) -> None:
    """Keep them."""
    value = asdict(branches)
    del value["conversation"]
    store.put(RECORDS, branches.conversation, value, index=False)


def settle(store: QdrantStore, branches: Branches) -> Branches:
    """Make the memory that of the active branch; doing it again after a crash goes on where it was."""
    written = [point for branch in branches.branches for point in stored(store, branches.agent, thread=branch.thread)]
    written.sort(key=lambda point: point.written)
    _, remembered = branches.actives[-1]
    has = {p.id: branches.has(remembered, str(p.value["thread"]), p.written) for p in written}
    left = [point for point in written if not has[point.id] and not is_aside(point)]
    come = [point for point in written if has[point.id] and is_aside(point)]
    _turn_blocks(store, branches, left, come)
    for point in [*left, *come]:
        agent, *place = point.namespace
        to = (agent, *place[1:]) if is_aside(point) else (agent, ASIDE, *place)
        selector = models.Filter(must=[models.HasIdCondition(has_id=[point.id])])
        store.client.set_payload(COLLECTION, {"tags": moved(point.payload["tags"], to)}, points=selector)
    settled = replace(branches, settled=True)
    save(store, settled)
    store.flush()
    return settled


def _turn_blocks(store: QdrantStore, branches: Branches, left: list[Stored], come: list[Stored]) -> None:
    """Undo the edits that were left, newest first, and bring back those that come: as the blocks were when their branch was left,
    unless others have edited them since; then by doing each again.
    """
    since, active = branches.actives[-1]
    others = [point for point in stored(store, branches.agent, thread="") if point.kind == VERSION]
    if any(point.value.get("switch") == since for point in others):
        return  # a crash came after it
    blocks = load_blocks(store, branches.agent)
    for edit in [point.value for point in reversed(left) if point.kind == VERSION]:
        blocks[edit["block"]] = replayed(blocks.get(edit["block"], ""), edit["text"], edit["before"] or "")
    leavings = [point for point in others if point.value.get("left") == active]
    last = {point.value["block"]: point.value for point in sorted(leavings, key=lambda point: point.written)}
    edits = [point.value for point in come if point.kind == VERSION]
    for block in dict.fromkeys(edit["block"] for edit in edits):
        if block in last and last[block]["text"] == blocks.get(block, ""):
            blocks[block] = last[block]["before"] or ""
            continue
        for edit in [edit for edit in edits if edit["block"] == block]:
            blocks[block] = replayed(blocks.get(block, ""), edit["before"] or "", edit["text"])
    was = branches.actives[-2][1]
    turned = [point.value for point in [*left, *come] if point.kind == VERSION]
    touched = {point.value["block"] for point in left if point.kind == VERSION}
    # A line may have been put together of what several have written: then it is as little to be trusted as the least of them.
    trust = "outside" if any(edit.get("trust") == "outside" for edit in turned) else "own"
    outside = ever_from_outside(store, branches.agent)  # a line that comes back may have been taken out by a person
    origin = {"thread": "", "said": "", "trust": trust, "switch": since, "left": was}
    save_blocks(store, branches.agent, blocks, touched, outside, **origin)


def is_aside(point: Stored) -> bool:
    """Whether it is put aside: of a branch that is not active."""
    return len(point.namespace) > 1 and point.namespace[1] == ASIDE


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
