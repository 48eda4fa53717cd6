"""The loop: a model is asked, its code is checked, and what came of it is a fact."""
