"""The process that learns from corrections: a supervisor that always answers, and a child of it for each round.

The supervisor is light. It starts the child at low priority, stops it while a person waits for a prediction or wants
it, passes on what it says, and starts it again where it died half-way.
"""
