"""Words and arithmetic: what can happen, when, in which order. Pure; imports nothing of ours."""
