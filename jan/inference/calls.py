"""Which call a piece of an answer belongs to. Servers differ in how they tell.

By its index; some repeat one index for all calls, and tell them apart by ids; some have no index
at all.
"""

from typing import Generic, TypeVar

from jan.inference.chunks import ToolCall


class Call:
    """A call of a tool, of which perhaps not even the name has come yet."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None


C = TypeVar("C", bound=Call)


class Calls(Generic[C]):
    """The calls of one answer, in the order in which they were begun."""

    def __init__(self, kind: type[C]) -> None:
        self.all: list[C] = []
        self._kind = kind
        self._by_index: dict[int, C] = {}

    def find(self, piece: ToolCall) -> C:
        """Find the call that a piece belongs to, or begin one. Its id and name are noted."""
        index = piece.index
        name = piece.function and piece.function.name
        call = self.all[-1] if self.all else None
        if index is not None:
            call = self._by_index.get(index)
        if call is None or (call.name and name and piece.id and piece.id != call.id):
            call = self._kind()
            self.all.append(call)
            if index is not None:
                self._by_index[index] = call
        call.id = call.id or piece.id
        call.name = call.name or name
        return call
