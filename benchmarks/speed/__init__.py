"""Speed and memory of Chargehand beside its peers and beside what the machine itself can do. `python -m benchmarks.speed --help`."""
