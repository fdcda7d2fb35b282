"""What a run needs and uses: memory, and the time of its parts."""
