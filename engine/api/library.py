"""The library: a store, its tasks, their moments and prompts, and what can be asked of them."""
