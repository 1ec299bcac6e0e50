"""The command line: a face of the supervisor, and the only place that installs signal handlers and configures logging."""
