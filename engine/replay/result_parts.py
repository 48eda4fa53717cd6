"""A tool's result as a part of a prompt."""

from backcast.domain.file_reads import file_read, file_write
from backcast.domain.message_parts import RESULT, MessagePart
from backcast.engine.replay.tool_calls import argument_line


def result_part(
    text: str, tool: str, arguments: object, *, call: str, ref: str, failed: bool
) -> MessagePart:
    """Return a tool's result, with the file that its call reads or changes."""
    writes = file_write(tool, arguments)
    return MessagePart(
        "tool", RESULT, text, tool=tool, call=call, arguments=argument_line(arguments), ref=ref,
        failed=failed, reads=file_read(tool, arguments), writes=writes[0] if writes else "",
        whole=bool(writes and writes[1]),
    )  # fmt: skip
