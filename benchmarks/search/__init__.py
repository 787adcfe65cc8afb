"""`simple_hypersearch` beside other printers of lines."""
