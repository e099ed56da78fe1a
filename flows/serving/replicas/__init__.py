"""Several processes behind one port, and the one that starts and ends them."""
