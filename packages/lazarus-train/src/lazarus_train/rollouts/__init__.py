"""Roll-outs of reinforcement learning: prompts, seeded answers, rewards, and the rows that are trained on."""
