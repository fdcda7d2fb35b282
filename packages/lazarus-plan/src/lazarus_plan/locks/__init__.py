"""Locks: the part of a plan that is committed, from which the plan is built again."""
