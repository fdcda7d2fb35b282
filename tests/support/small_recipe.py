"""The beginning of a small recipe: from documents to a fresh model and its plan."""

SMALL_RECIPE = """
data.docs = "docs.jsonl"
[tokenizer]
kind = "char"
data = ["docs"]
[lengths]
data = "docs"
tokenizer = "tokenizer"
[plan]
lengths = ["lengths"]
token_budget = 128
row_len = 64
oversize = "split"
[model]
preset = "nano"
tokenizer = "tokenizer"
"""
