"""How far a task is, in words: only what plans or asks is generating, and what is over waits for
nothing."""

from backcast.engine.interfaces.view.sequence import RunSequence
from backcast.projections import progress


def status_words(sequence: RunSequence, state: progress.State, version: int) -> tuple[str, str]:
    """Return the status as of an event, and what the task then waited for; each may be empty."""
    if state.status == progress.HISTORY:
        return progress.history_words(state.commits, state.started_at, state.last_at), ""
    if state.status in progress.ENDED:
        return state.status, ""
    waits = progress.waiting_for(state)
    if sequence.format:
        is_over = version >= sequence.version
        where = "its log ends here" if is_over else "its log goes on"
        return f"a session, imported from {sequence.format}: {where}", "" if is_over else waits
    if state.status == "generating" and not sequence.plans:
        return "code was written, without a plan or a request of ours", ""
    return state.status, waits
