"""The three stages of a build, as tasks that any executor can run, in any order and again after a kill."""
