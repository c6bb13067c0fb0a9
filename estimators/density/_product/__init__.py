"""Tables whose columns are of different kinds: one kernel a column, and their product."""
