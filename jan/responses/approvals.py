"""What earlier turns left for this one: calls that the client now allows, lists of tools."""

from collections.abc import Mapping, Sequence

import msgspec

from jan.conversations import items
from jan.conversations.items import (
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
    McpListTools,
)
from jan.errors import InvalidRequest
from jan.responses.servers import ListedTool


def allowed(history: Sequence[Item], given: Sequence[Item]) -> list[McpApprovalRequest]:
    """Find the calls that `given` allows and that have not been carried out, in its order.

    Raises:
        InvalidRequest: it answers a request that was never made; `param` names it.
    """
    requests: dict[str, McpApprovalRequest] = {}
    carried_out: set[str] = set()
    for item in (*history, *given):
        read = items.read(item, "")
        if isinstance(read, McpApprovalRequest):
            requests[read.id] = read
        elif items.type_of(item) == "mcp_call":
            carried_out.add(str(item.get("approval_request_id")))
    found: dict[str, McpApprovalRequest] = {}
    for index, item in enumerate(given):
        answer = items.read(item, f"input[{index}]")
        if not isinstance(answer, McpApprovalResponse):
            continue
        request = requests.get(answer.approval_request_id)
        if request is None:
            raise InvalidRequest(
                f"No request was found for the approval of `{answer.approval_request_id}`.",
                param=f"input[{index}].approval_request_id",
            )
        if answer.approve and request.id not in carried_out:
            found[request.id] = request
    return list(found.values())


def listed(history: Sequence[Item], given: Sequence[Item]) -> Mapping[str, list[ListedTool]]:
    """Find what MCP servers have told of their tools before, by label. The latest counts."""
    found: dict[str, list[ListedTool]] = {}
    for item in (*history, *given):
        read = items.read(item, "")
        if isinstance(read, McpListTools) and not item.get("error"):
            try:
                found[read.server_label] = msgspec.convert(read.tools, list[ListedTool])
            except msgspec.ValidationError:
                continue  # of some other server's making: it is asked again
    return found
