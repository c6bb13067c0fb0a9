"""Runs cases side by side: one process a library, turn by turn, equal work or no ratio."""
