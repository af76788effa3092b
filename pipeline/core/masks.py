"""What every mask has in common, wherever it is read, drawn, stored or learned from."""

IGNORE = 255  # of no class: void, padding, and what a filter leaves out; it counts in no loss and in no score
