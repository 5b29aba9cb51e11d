"""All that speaks Asterisk's own formats: the AMI wire and session, the CEL and queue_log journals, its configuration."""
