"""What is done to texts and their order before they are encoded, each of it reversible or counted."""
