"""Lower bounds by a critic that is trained on the data set itself."""
