"""pbxd: the appliance daemon beside Asterisk."""

__version__ = "0.1.0"
