"""Calls: what is in progress, and the one record that each becomes. No I/O, no clock."""
