"""Tests of the documentation: what it says is run, counted or looked up."""
