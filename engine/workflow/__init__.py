"""The run loop: asks a model, checks its code, and records each result as a fact."""
