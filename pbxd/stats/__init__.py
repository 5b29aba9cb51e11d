"""The statistics store: one SQLite database, one writer, any number of readers."""
