"""Where runs live: implementations of the port `chargehand.durable.Journal`. They do not know each other."""
