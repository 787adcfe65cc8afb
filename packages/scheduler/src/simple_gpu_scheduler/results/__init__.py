"""From what a batch of jobs wrote to a table, best first. Pure: text in, text out."""
