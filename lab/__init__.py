"""The lab: a private, real Asterisk 22 and real SIP phones on loopback, for `bin/run`, the tests and the benches."""
