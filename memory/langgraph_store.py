"""The face that LangGraph knows: BaseStore's operations (Studio, `runtime.store.put`) over what the store does."""

import asyncio
from abc import abstractmethod
from collections.abc import Iterable

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchItem, SearchOp

from memory.conditions import Namespace


class LangGraphStore(BaseStore):
    """BaseStore's batch as four methods, one for each kind of operation."""

    supports_ttl = False

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run `ops`: reads see the store as it was, and of two puts to one key the later wins, as in LangGraph's own."""
        results: list[Result] = []
        puts: dict[tuple[Namespace, str], PutOp] = {}
        for op in ops:
            match op:
                case GetOp():
                    results.append(self._get(op.namespace, op.key))
                case SearchOp():
                    results.append(self._search(op))
                case ListNamespacesOp():
                    results.append(self._list_namespaces(op))
                case PutOp():
                    puts[(op.namespace, op.key)] = op
                    results.append(None)
        if puts:
            self._put(list(puts.values()))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` in a thread: Qdrant is called synchronously."""
        return await asyncio.to_thread(self.batch, list(ops))

    @abstractmethod
    def _get(self, namespace: Namespace, key: str) -> Item | None: ...

    @abstractmethod
    def _put(self, ops: list[PutOp]) -> None: ...

    @abstractmethod
    def _search(self, op: SearchOp) -> list[SearchItem]: ...

    @abstractmethod
    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]: ...
