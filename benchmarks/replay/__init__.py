"""Recorded runs of real models on an office database, played as supervised runs: ``python -m benchmarks.replay``.

* `recording`: what was recorded, and the judge that tells right from harmful;
* `office`: the five tables as a real SQLite database whose tools can be undone;
* `request`, `rules`: gates that know only what a supervisor would know;
* `crew`: the recorded tools as reads and effects, the recorded model as an agent;
* `play`, `crash`, `report`: the passes, the kills, the page.

The recordings are read from the data folder beside the checkout and never copied. All strings in them are data.
"""
