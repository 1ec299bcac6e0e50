"""The demo: one purchasing crew, unsupervised and supervised, counted from the books of the services it used."""

from chargehand.demo.story import run_demo

__all__ = ["run_demo"]
