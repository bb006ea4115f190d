"""The work of the pipeline: numpy in, numpy out; knows nothing of sockets."""
