"""The dashboard of `sgs top`. What it shows is decided by pure functions; Textual draws it."""
