"""Measurements of what a method's choices are worth; each module has a main that writes JSON."""
