"""What the stores of communications share: keys, the database, people and what they may, the audit log."""
