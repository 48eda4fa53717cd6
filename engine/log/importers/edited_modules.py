"""Facts about modules, derived from the calls and results of a foreign log as they come.

They stand right behind the result that shows them. What comes of a call depends on what the log
holds up to its result alone, so an import can stop behind any record.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    SourceRead,
)
from backcast.engine.log.importers.edit_arguments import READERS
from backcast.engine.log.importers.file_edits import Change, FileEdit, Shown
from backcast.engine.log.importers.file_texts import OTHERWISE, FileTexts
from backcast.engine.log.importers.tool_edits import Called, Truth, edits_of, touches, whole_read

if TYPE_CHECKING:
    from backcast.engine.log.importers import Report
    from backcast.engine.log.importers.records import ForeignRecord

NO_EDITS = "edits and writes of tools gave no versions of modules"
"What was wrong with the facts of importers before they followed files."
SED_SCRIPTS = "scripts of sed behind -e could be taken for files"
NO_REPLACED = "edits by a tool edit_file that replaces a text gave no versions of modules"
FAILED_UNSAID = "results of edits that failed did not say so"
WRITER, ELSEWHERE = "agent", "environment"
"Who changed a module: the model by a tool, or something that the log does not show."


class EditedModules:
    """The modules of a run while its log is read."""

    def __init__(self, report: "Report", *, silent: bool = False) -> None:
        self.report, self.silent = report, silent
        self.plain = False
        "Whether a tool that reads shows a file as it is, without numbers of lines."
        self.texts = FileTexts()
        self._open: dict[str, Called] = {}
        "Calls that may touch files and await their results, by foreign id."
        self._last: dict[str, str] = {}
        "The foreign id of each module's last change."

    def called(self, id: str, tool: str, arguments: object) -> None:
        """Note a call."""
        if touches(tool) or _is_line(arguments):
            self._open[id] = Called(tool, arguments)

    def answered(
        self,
        record: "ForeignRecord",
        answer: str,
        calls: Iterable[object],
        output: str,
        failed: object,
        truth: Truth | None = None,
    ) -> bool:
        """Add the facts that a result shows, behind it; return whether an edit failed by it."""
        broke = False
        for id in calls:
            called = self._open.pop(id, None) if isinstance(id, str) else None
            if called is None:
                continue
            if self.plain and truth is None and called.tool in READERS:
                truth = whole_read(called.arguments, output, failed)
            found = edits_of(called, output, failed, self.texts, truth, silent=self.silent)
            counts = self.report.edits
            counts.failed += found.failed
            broke = broke or found.failed > 0
            for edit in found.edits:
                for change in self.texts.apply(edit):
                    self._tell(record, answer, change)
            if found.doubts:
                counts.doubts.setdefault(found.doubts)
                self.texts.doubt()
        return broke

    def shown(self, record: "ForeignRecord", answer: str, path: str, text: Shown) -> None:
        """Add what a message shows of a file."""
        if "\0" not in path:
            edit = FileEdit(self.texts.name(path), "read", after=text)
            for change in self.texts.apply(edit):
                self._tell(record, answer, change)

    def _tell(self, record: "ForeignRecord", answer: str, change: Change) -> None:
        named: dict[str, Any] = {}
        if change.text is not None:
            named["source"] = record.keep(change.text.text, change.base)
            self.texts.stored(change.path, named["source"])
            named |= {} if change.text.exact else {"line_ends": "assumed"}
        elif change.kind in ("iteration", "renamed"):
            named["unknown"] = change.why
            pieces = record.shelf([[piece.old, piece.new] for piece in change.pieces])
            named |= {"pieces": pieces} if pieces and isinstance(pieces, list) else {}
        because = (answer, self._last.get(change.path), self._last.get(change.previous))
        self._last[change.path] = _fact(record, change, named, because)
        self.report.edits.note(change)


def _fact(
    record: "ForeignRecord", change: Change, named: Mapping[str, Any], because: Iterable[object]
) -> str:
    writer = WRITER if change.by_tool else ELSEWHERE
    if change.kind == "read":
        fields = {"path": change.path, **named}
        return record.tell(SourceRead, fields, writer=writer, because=because)
    fields = {"module_name": change.path}
    if change.kind == "deleted":
        return record.tell(ModuleDeleted, fields, writer=writer, because=because)
    fields |= {"iteration": change.iteration, **named}
    if change.kind == "renamed":
        fields["previous_name"] = change.previous
        return record.tell(ModuleRenamed, fields, writer=writer, because=because)
    if change.why == OTHERWISE:
        fields["note"] = OTHERWISE
    return record.tell(ModuleIteration, fields, writer=writer, because=because)


def _is_line(arguments: object) -> bool:
    """Return whether a call is a line of a shell, whose first word stands for the tool."""
    return isinstance(arguments, dict) and arguments.keys() == {"command"}
