"""Time and memory of exported artefacts, each in a process of its own, in turn."""
