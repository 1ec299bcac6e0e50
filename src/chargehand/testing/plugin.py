"""The pytest plugin: the fixture `supervised`."""
