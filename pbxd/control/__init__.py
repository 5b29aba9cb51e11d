"""The local API on a Unix socket."""
