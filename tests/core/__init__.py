"""The pure decisions: tables in, tables out, no fixture."""
