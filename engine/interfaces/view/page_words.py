"""The keys of the page, and its words, a line each."""

KEYS = (
    ("j  k", "next step, step before"), ("→  ←", "next event, event before"),
    ("↑  ↓", "in the list: step before, next step; Home, End, PageUp, PageDown; Enter leads to it"),
    ("n  p", "next trouble, trouble before"), ("g  G", "first event, last event"),
    ("d", "compare with the prompt before"),
    ("c", "what changed since before this step: modules, summaries, map, in hand"),
    ("m", "mark this step; d and c then compare with it"),
    ("w", "what fell out"), ("i", "what is in it, and why"),
    ("x", "what if another policy had built it"),
    ("/", "search; step 12 and #73 lead there"),
    ("t", "clock times"), ("u", "new events of a run that goes on"),
    ("click a line", "its address can be pasted"), ("?", "these keys"), ("Esc", "close"),
)  # fmt: skip
WORDS = (
    ("policy", "all the settings by which it is chosen what a prompt shows"),
    ("level", "how much of an item is shown: its name, its signature, a summary, or all of it"),
    ("priority", "CRITICAL must be shown and is chosen first; HIGH, MEDIUM and LOW follow"),
    ("score", "the estimated chance that an item is needed, by which items of one priority go"),
    ("found", "online: in what the running task has in hand; offline: in what tasks before it left;"
     " made: worked out from the code"),
    ("what fell out", "items that were offered and found no room, and why"),
    ("over budget", "the tokens for what is known of the code were taken by items more likely to be"
     " needed; tokens that are free beside them are not for it"),
    ("rebuilt", "the recorded texts, put together just now, give the recorded bytes"),
    ("built anew", "today's code, given what was known then, builds the same prompt"),
    ("read again", "tokens behind the first that differs: a server's cache of the prompt before"
     " does not hold them"),
    ("in hand", "what the running task works with at that event; its tokens are those of all, of"
     " which a prompt shows what fits"),
    ("stale", "a summary of code that has changed since it was written"),
    ("map", "a short orientation in the project at the head of each prompt"),
    ("failure:82.1", "the first failure that event 82 told, in a prompt; failure@82.1 in hand"),
    ("evidence recall", "of what the accepted code used, the share that its prompt showed"),
)  # fmt: skip
