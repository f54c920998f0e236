"""Networks built from a graph, with the traits of the weights: one file a framework."""
