"""Locks: the committed part of a plan, from which the plan can be rebuilt."""
