"""Earlier work that a prompt shows again: what other tasks left, and what was taken out here."""
