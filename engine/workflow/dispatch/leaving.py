"""Agents that have ended, whose folders are being removed while the work goes on."""

from pathlib import Path
from typing import NamedTuple

from backcast.engine.workflow.dispatch.agent_run import AgentRun
from backcast.engine.workflow.dispatch.leftovers import remove_left


class Leaving(NamedTuple):
    """An agent that has ended, or was never started, and its folder."""

    agent: AgentRun | None
    folder: Path
    mark: str

    def begin(self) -> None:
        """Let its keeper remove the folder; without a keeper that is done at once."""
        if self.agent is None:
            self.settle()
        else:
            self.agent.release()

    def settle(self) -> None:
        """Wait until its folder is gone, and remove what its keeper has not."""
        if self.agent is not None:
            self.agent.close()
        if self.agent is None or self.folder.exists():
            remove_left(str(self.folder), self.mark)
