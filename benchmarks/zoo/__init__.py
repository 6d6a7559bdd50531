"""What is counted and timed in one inference graph."""
