"""The commands: `pbxd`, that systemd starts, and `pbxctl`, that people use."""
