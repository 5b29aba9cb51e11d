"""Room for the optional link to the vendor: gate, outbox, link, support."""
