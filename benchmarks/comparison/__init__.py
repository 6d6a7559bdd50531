"""Runs of one config with several extractors and seeds, and the page that sets them side by side."""
