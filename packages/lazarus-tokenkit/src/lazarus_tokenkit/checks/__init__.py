"""What can be wrong with a tokenizer, found by trying: each check has a number, a severity and evidence."""
