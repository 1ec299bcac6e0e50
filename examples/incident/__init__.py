"""An on-call crew that writes incident reports: collector, timeliner, analyst, writer."""
