"""The whole system in one thread, under a seeded scheduler and a clock that jumps: several workers, carrier, journal, people, faults."""
