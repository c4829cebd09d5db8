"""Renders cards, catalog and the README's table from results; reads JSON only."""
