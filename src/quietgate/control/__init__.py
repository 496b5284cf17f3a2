"""The guard's socket, and the processes beside it that it is asked by or asks."""
