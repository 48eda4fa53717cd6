"""Writers of derived facts: what can be read off, or told by a model, from what happened."""
