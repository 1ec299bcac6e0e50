"""Threats: each test tries one, as `docs/security.md` lists them, and shows what the product does about it."""
