"""The pytest plugin: recorded prompts as fixtures, and assertions about them."""
