"""What a model is shown: found, chosen, counted and rendered."""
