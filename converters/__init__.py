"""Moving tensors between containers: sources, codecs, the plan, and the pipeline that carries it out."""
