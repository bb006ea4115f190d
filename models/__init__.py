"""What is learned or known: prototypes, FACS, recognisers, synthesis."""
