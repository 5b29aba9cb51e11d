"""Benches: each measures pbxd beside its peer in one run, prints a table with the ratio, and exits 1 below its target."""
