"""A page that shows a run: its steps, each prompt, and what was known at any moment."""
