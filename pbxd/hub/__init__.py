"""The vendor's end of the uplink: what `pbxhub` runs. It shares nothing with a box but the protocol and the drawing of reports."""
