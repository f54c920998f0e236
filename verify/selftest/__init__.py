"""What a verification would have caught: mutations of the target, run on the same inputs and judged by its rule."""
