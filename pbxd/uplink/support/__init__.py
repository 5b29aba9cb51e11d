"""Support sessions: tickets that the customer opens, who is let in by them, what they show, and the recording of it."""
