"""MindSpore Hub cards: what their fields are called, how a card is read, what it claims, and which ones there are."""
