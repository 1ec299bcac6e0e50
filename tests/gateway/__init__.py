"""The MCP gateway: the official client on one side, MCP servers on the other, real processes between."""
