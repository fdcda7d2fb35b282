"""Training on a CPU: layers, optimizer and threads with less memory and time."""
