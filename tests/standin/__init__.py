"""The stand-in for a model's endpoint, asked over real HTTP with the vendor's own client."""
