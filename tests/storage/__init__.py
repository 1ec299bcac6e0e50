"""The disk under the journal fails, fills up or loses its power: what SQLite was told stays, what it was not is whole or absent."""
