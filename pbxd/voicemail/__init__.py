"""Voicemail: an index of what Asterisk keeps, and what is done with it by AMI."""
