"""The MCP gateway: an MCP server in front of other MCP servers, whose tool calls are reads and effects of supervised runs."""
