"""One file per promise of docs/promises.md. Each test would fail if the promise were broken."""
