"""What a tokenizer makes of a corpus, in numbers whose formulas stand where they are computed."""
