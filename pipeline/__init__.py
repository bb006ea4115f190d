"""The runtime: sockets, clocks, processes and logs."""
