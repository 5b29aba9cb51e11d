"""Reports as people get them: drawn as text, table, page and PDF, sent by mail, on time. What a report says is made in `stats`."""
