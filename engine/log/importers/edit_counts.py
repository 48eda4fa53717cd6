"""What the edits in a foreign log came to, for the report of its import."""

from backcast.domain.name_list import first_names
from backcast.engine.log.importers.file_edits import Change

NAMED = 3
"Modules that a note names."


class EditCounts:
    """What the edits of a log came to."""

    def __init__(self) -> None:
        self.known = self.unknown = self.failed = self.deleted = self.read = 0
        "Iterations with their text, and without; edits that failed; files deleted, and read."
        self.reasons: dict[str, dict[str, None]] = {}
        "The modules whose text is unknown, by reason."
        self.outside: dict[str, None] = {}
        "Modules outside of the working folder."
        self.doubts: dict[str, None] = {}
        "Commands that may have changed any file."

    def plain(self) -> dict[str, int]:
        """Return the counts as plain values."""
        return {name: number for name, number in vars(self).items() if isinstance(number, int)}

    def note(self, change: Change) -> None:
        """Count a change."""
        if change.path.startswith("../"):
            self.outside.setdefault(change.path)
        if change.kind in ("deleted", "read"):
            self.deleted += change.kind == "deleted"
            self.read += change.kind == "read"
        elif change.text is not None:
            self.known += 1
        else:
            self.unknown += 1
            self.reasons.setdefault(change.why, {}).setdefault(change.path)

    def notes(self) -> list[str]:
        """Return a line for each thing that the log does not tell of its files."""
        lines = []
        if self.unknown:
            failed = f", {self.failed} failed and changed nothing" if self.failed else ""
            lines.append(f"edits: {self.known} with the text they left, {self.unknown} with an"
                         f" unknown text{failed}")  # fmt: skip
            for why, paths in self.reasons.items():
                lines.append(f"unknown text: {why}: {first_names(paths, NAMED)}")
        if self.outside:
            lines.append(f"outside of the working folder: {first_names(self.outside, NAMED)}")
        if self.doubts:
            lines.append(
                f"{first_names(self.doubts, NAMED)} may have changed files in ways that the log"
                " does not show: an edit of a file that is not read again has an unknown text"
            )
        return lines
